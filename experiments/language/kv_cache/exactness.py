"""How far logits with a cache are from those of the whole forward pass. Every program compiles once for all splits and lengths."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import language, networks
from gendiff.commands.chat import steps
from gendiff.core import records
from gendiff.core.types import Params

WRONG = 7
"""What is added to the ids of tokens that are to be forgotten."""


class Model:
    """A network with its parameters, and the programs that compare."""

    def __init__(self, network: networks.LanguageModel, params: Params) -> None:
        self.network, self.params = network, params
        self.next_logits = language.from_network(networks.pure(network), params)
        self._whole = steps.jit(lambda params, ids: networks.pure(network)(params, ids).logits)
        self.read = steps.jit(lambda next_logits, tokens, cache: next_logits(tokens, cache, True))
        """(next_logits, tokens (b, s), cache) -> logits (b, s, v), cache."""
        self._walk = steps.jit(_walk)
        self._ragged = steps.jit(_ragged)
        self._forgetting = steps.jit(_forgetting, static_argnames="rewind")

    def whole(self, ids: np.ndarray) -> jax.Array:
        """Logits (b, n, v) after each token of texts (b, n), without a cache."""
        return self._whole(self.params, ids)

    def walked(self, cache: Any, ids: np.ndarray, expected: jax.Array, split: int) -> float:
        """Largest difference where the first `split` tokens of one text (n,) are read at once, and the others one by one."""
        return float(self._walk(self.next_logits, cache, ids, expected, split))

    def ragged(self, cache: Any, ids: np.ndarray, expected: jax.Array, lengths: np.ndarray, steps: int) -> float:
        """The same for texts (b, n) of which `lengths` (b,) tokens are read together, and then `steps` one by one."""
        return float(self._ragged(self.next_logits, cache, ids, expected, lengths, steps))

    def forgetting(self, cache: Any, ids: np.ndarray, expected: jax.Array, kept: int, wrong: int, rewind: bool) -> float:
        """The same where `kept` tokens are followed by wrong ones, which are taken back (or, with rewind=False, are not)."""
        return float(self._forgetting(self.next_logits, cache, ids, expected, kept, wrong, rewind=rewind))

    def in_chunks(self, cache: Any, ids: np.ndarray, expected: jax.Array, chunk: int) -> float:
        """The same where tokens are read `chunk` at a time; the last chunk is filled up."""
        padded = np.pad(ids, (0, -len(ids) % chunk), constant_values=-1).reshape(-1, 1, chunk)
        differences, start = [], 0
        for tokens in padded:
            logits, cache = self.read(self.next_logits, tokens, cache)
            count = int((tokens >= 0).sum())
            differences.append(_difference(logits[0, :count], expected[start : start + count]))
            start += count
        return float(jnp.max(jnp.stack(differences)))


@records.record
class FirstSlotsOnly:
    """A layer of a cache with a known mistake: of a window, it shows the first slots instead of the last ones."""

    layer: Any
    window: int = records.static()

    def updated(self, key: jax.Array, value: jax.Array, positions: jax.Array) -> tuple[Any, jax.Array, jax.Array, jax.Array]:
        """As the layer does, but that every slot of the window claims to hold the newest token, and no other holds any."""
        layer, keys, values, known = self.layer.updated(key, value, positions)
        newest = jnp.max(positions, 1, keepdims=True)
        slots = jnp.arange(known.shape[1], dtype=known.dtype)[None]
        return FirstSlotsOnly(layer, self.window), keys, values, jnp.where(slots < self.window, newest, -1)


def mistaken(cache: language.cache.Cache, window: int) -> language.cache.Cache:
    """The cache whose layers show the first slots of a window."""
    return records.replace(cache, layers=tuple(FirstSlotsOnly(layer, window) for layer in cache.layers))


def _walk(next_logits: Callable[..., Any], cache: Any, ids: jax.Array, expected: jax.Array, split: jax.Array) -> jax.Array:
    ids = jnp.asarray(ids)
    places = jnp.arange(len(ids))
    logits, cache = next_logits(jnp.where(places < split, ids, -1)[None], cache, True)
    first = jnp.max(jnp.where((places < split)[:, None], jnp.abs(logits[0] - expected), 0))
    return _one_by_one(next_logits, cache, ids, expected, split, first)


def _one_by_one(
    next_logits: Callable[..., Any], cache: Any, ids: jax.Array, expected: jax.Array, start: jax.Array, largest: jax.Array
) -> jax.Array:
    def step(at: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        cache, largest = state
        logits, cache = next_logits(jax.lax.dynamic_slice_in_dim(ids, at, 1)[None], cache)
        return cache, jnp.maximum(largest, _difference(logits[0], expected[at]))

    return jax.lax.fori_loop(start, len(ids), step, (cache, largest))[1]


def _ragged(
    next_logits: Callable[..., Any], cache: Any, ids: jax.Array, expected: jax.Array, lengths: jax.Array, steps: jax.Array
) -> jax.Array:
    ids, rows = jnp.asarray(ids), jnp.arange(len(ids))
    inside = jnp.arange(ids.shape[1])[None] < jnp.asarray(lengths)[:, None]
    logits, cache = next_logits(jnp.where(inside, ids, -1), cache, True)
    first = jnp.max(jnp.where(inside[..., None], jnp.abs(logits - expected), 0))

    def step(number: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        cache, largest = state
        logits, cache = next_logits(ids[rows, lengths + number][:, None], cache)
        return cache, jnp.maximum(largest, _difference(logits, expected[rows, lengths + number]))

    return jax.lax.fori_loop(0, steps, step, (cache, first))[1]


def _forgetting(
    next_logits: Callable[..., Any], cache: Any, ids: jax.Array, expected: jax.Array, kept: jax.Array, wrong: jax.Array, rewind: bool
) -> jax.Array:
    ids = jnp.asarray(ids)
    places = jnp.arange(len(ids))
    altered = jnp.where(places < kept, ids, jnp.maximum(ids - WRONG, 0))
    cache = next_logits(jnp.where(places < kept + wrong, altered, -1)[None], cache)[1]
    if rewind:
        cache = cache.rewound(kept)
    return _one_by_one(next_logits, cache, ids, expected, kept, jnp.zeros((), expected.dtype))


def _difference(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(first - second))
