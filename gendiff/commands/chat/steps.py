"""How the experiments with SmolLM2 compile, and one more token of texts as a work that can be timed again and again."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from gendiff.core import records
from gendiff.core.types import KVCache, NextLogits
from gendiff.runs import devices

T = TypeVar("T")


def jit(function: Callable[..., T], **options: object) -> Callable[..., T]:
    """`jax.jit` as users of `language` compile: the libraries that serve pictures slow down single rows, bfloat16 and 8
    bits.
    """
    jitted: Callable[..., T] = devices.jit(function, libraries=False, **options)
    return jitted


def in_place() -> Callable[[NextLogits, jax.Array, KVCache], Callable[[], jax.Array]]:
    """A function of (model, tokens (b, 1), cache) that returns the work, whose answer is the logits.

    The cache is written where it lies, as in the loop of `generate`: a step that kept it as it was would copy all of
    it. Each call begins behind the same tokens. Works of equal shapes share one program; each has a copy of its cache.
    """
    step = jit(_again, donate_argnums=2)

    def bound(next_logits: NextLogits, tokens: jax.Array, cache: KVCache) -> Callable[[], jax.Array]:
        held = [jax.tree.map(jnp.copy, cache)]

        def work() -> jax.Array:
            logits, held[0] = step(next_logits, tokens, held[0])
            return logits

        return work

    return bound


def _again(next_logits: NextLogits, tokens: jax.Array, cache: KVCache) -> tuple[jax.Array, KVCache]:
    logits, after = next_logits(tokens, cache)
    return logits, records.replace(after, length=cache.length)
