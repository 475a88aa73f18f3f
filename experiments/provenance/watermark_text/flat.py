"""Marked texts from flat logits, where the mean of z is known."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.provenance.watermark_text import marks
from experiments.provenance.watermark_text.config import Config
from gendiff import language
from gendiff.commands.chat import steps
from gendiff.core import records
from gendiff.language import cache
from gendiff.provenance import text_detection, text_watermarks


@records.record
class Flat:
    """A language model to which all tokens are equally likely."""

    vocabulary: int = records.static()

    def __call__(self, tokens: jax.Array, held: Any, every: bool = False) -> tuple[jax.Array, Any]:
        """As `language.NextLogits` does."""
        shape = tokens.shape if every else tokens.shape[:1]
        return jnp.zeros((*shape, self.vocabulary)), held.advanced((), jnp.sum(tokens >= 0, 1, dtype=jnp.int32))


def expected(gamma: float, delta: float, count: int) -> float:
    """The mean of z of so many choices."""
    excess = text_watermarks.green_share(gamma, delta) - gamma
    return float(excess * np.sqrt(count / (gamma * (1 - gamma))))


@functools.lru_cache  # one object, so that all marks share a compiled program
def writer(vocabulary: int, texts: int, tokens: int) -> Callable[[jax.Array, Any], jax.Array]:
    """(key, mark) -> so many texts of so many tokens."""

    def write(key: jax.Array, mark: Any) -> jax.Array:
        held = cache.Cache((), jnp.zeros(texts, jnp.int32), tokens + 1)
        prompt, index = jnp.zeros((texts, 1), jnp.int32), jnp.arange(texts)
        return language.generate(key, Flat(vocabulary), held, prompt, index, max_tokens=tokens, processor=mark).tokens

    return steps.jit(write)


def measured(config: Config) -> dict[tuple[float, float, int], np.ndarray]:
    """By gamma, delta and length: (texts,) z over its formula. The first token only chooses with the next one."""
    write, found = writer(config.vocabulary, config.flat_texts, config.tokens + 1), {}
    for place, gamma in enumerate(config.gammas):
        for number, delta in enumerate(config.flat_deltas):
            key = marks.keys(1, config.seeds[0], place, number)[0]
            mark = marks.build(config, marks.GREEN, key, config.vocabulary, gamma=gamma, delta=delta)
            tokens = np.asarray(write(jax.random.key(config.seeds[0]), mark))
            for length in config.lengths:
                z = text_detection.detect(mark, tokens[:, : length + 1]).z
                found[gamma, delta, length] = z / expected(gamma, delta, length)
    return found
