"""How likely a model holds texts that are given."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike
from gendiff.language import decoding


def log_probs(next_logits: Callable[..., Any], cache: Any, tokens: Int[ArrayLike, "b s"], *, chunk: int = 64) -> Float[Array, "b s-1"]:
    """Log p of each token but the first one, given those before it. The sum over a text is its log-likelihood.

    Args:
        next_logits: the model.
        cache: of b texts, with room for s.
        tokens: (b, s) ids, s ≥ 2, behind which −1 may stand; 0 is answered there.
        chunk: how many tokens are read at once: logits of so many are in memory.

    Raises:
        TypeError: for ids that are no integers.
        ValueError: for a cache without room, and less than two tokens.
    """
    checks.integer("chunk", chunk, 1)
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(f"tokens has shape {tokens.shape}: (texts, tokens) with at least two tokens is needed")
    given, _ = decoding.checked_prompt(tokens)
    decoding.check_room(cache, given.shape, 0)
    target = given[:, 1:]
    before = jnp.where(target >= 0, given[:, :-1], -1)
    size = min(chunk, before.shape[1])
    over = ((0, 0), (0, -before.shape[1] % size))
    parts = [jnp.pad(values, over, constant_values=-1).reshape(len(values), -1, size).swapaxes(0, 1) for values in (before, target)]

    def read(cache: Any, part: tuple[Array, ...]) -> tuple[Any, Array]:
        logits, cache = next_logits(part[0], cache, True)
        wide = logits.astype(arrays.at_least_float32(logits.dtype))
        chosen = jnp.take_along_axis(jax.nn.log_softmax(wide, 2), jnp.maximum(part[1], 0)[..., None], 2)[..., 0]
        return cache, jnp.where(part[1] >= 0, chosen, 0)

    _, result = jax.lax.scan(read, cache, tuple(parts))
    return result.swapaxes(0, 1).reshape(given.shape[0], -1)[:, : target.shape[1]]
