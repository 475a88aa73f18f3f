"""A cache of the last tokens and some of the first, of a fixed size. Also known as: sliding window, attention sinks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records
from gendiff.core.types import DType
from gendiff.language.cache.cache import Cache, Sizes, key_shape, start_and_count, write_together


@records.record
class RingLayer:
    """The first tokens in slots of their own, and the last ones in a ring behind them.

    A token at position p stands in slot p where p < sinks, else in slot sinks + (p − sinks) mod (slots − sinks).

    Attributes:
        key: (b, heads, slots, size).
        value: (b, heads, slots, size).
        sinks: how many slots are for the first tokens.
    """

    key: jax.Array
    value: jax.Array
    sinks: int = records.static()

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["RingLayer", Array, Array, Array]:
        """Write tokens at positions ≥ 0 and return all stored ones (see `networks.transformer.LayerCache`)."""
        n = self.key.shape[2] - self.sinks
        if positions.shape[1] > n:
            raise ValueError(f"{positions.shape[1]} tokens at once do not fit into a ring of {n}")
        slots = jnp.where(positions < self.sinks, positions, self.sinks + (positions - self.sinks) % n)
        keys, values = (
            self._written(old, new.swapaxes(1, 2), positions, slots)
            for old, new in ((self.key, key), (self.value, value))
        )
        places = self._places(jnp.max(positions, 1) + 1)
        layer = RingLayer(keys, values, self.sinks)
        return layer, keys.astype(key.dtype).swapaxes(1, 2), values.astype(value.dtype).swapaxes(1, 2), places

    def _written(self, old: Array, new: Array, positions: Array, slots: Array) -> Array:
        if positions.shape[1] == 1:
            return write_together(old, new, slots[:, 0], start_and_count(positions)[1])
        slots = jnp.where(positions < 0, old.shape[2], slots)
        written: Array = jax.vmap(lambda row, fresh, at: row.at[:, at].set(fresh, mode="drop"))(
            old, new.astype(old.dtype), slots
        )
        return written

    def _places(self, end: Int[Array, " b"]) -> Int[Array, "b slots"]:
        """The position of what is in each slot when the texts have `end` (b,) tokens; −1 for nothing."""
        n = self.key.shape[2] - self.sinks
        first = jnp.arange(self.sinks, dtype=end.dtype)[None]
        newest = end[:, None] - 1 - self.sinks
        position = newest - (newest - jnp.arange(n, dtype=end.dtype)[None]) % n
        ring = jnp.where((position >= 0) & (newest >= 0), position + self.sinks, -1)
        return jnp.concatenate([jnp.where(first < end[:, None], first, -1), ring], 1)


def ring(
    network: Sizes,
    batch: int,
    capacity: int,
    dtype: DType = jnp.float32,
    *,
    window: int,
    sinks: int = 0,
    slack: int = 64,
) -> Cache:
    """A cache of the last `window` tokens and of the first `sinks` ones, without any so far.

    It takes 2 · depth · batch · key/value heads · (sinks + window + slack) · head size numbers, whatever the capacity.
    A network in which all blocks have a window that is no longer sees nothing less than it would see without a cache;
    other networks see less. Positions are those in the text.

    Args:
        network: a `networks.LanguageModel`.
        batch: number of texts.
        capacity: the largest number of tokens of each, at most the network's context.
        dtype: of keys and values.
        window: how many tokens each one sees beside the sinks, itself included.
        sinks: how many of the first tokens each one sees in any case.
        slack: slots beyond the window. At most slack + 1 tokens can be new at once, or be taken back: it bounds `chunk`
            of `generate` and the drafts of `speculative`.

    Raises:
        ValueError: for numbers below what is possible, or a capacity outside 1 … context.

    References:
        Beltagy et al., 2020, section 3.1; Xiao et al., 2023, section 3.2, for sinks, whose positions are those in the
        cache (from memory).
    """
    checks.integer("capacity", capacity, 1, network.context)
    checks.integer("window", window, 1)
    checks.integer("sinks", sinks, 0)
    checks.integer("slack", slack, 0)
    empty = jnp.zeros(key_shape(network, batch, sinks + window + slack), dtype)
    layers = tuple(RingLayer(empty, empty, sinks) for _ in range(network.depth))
    none = jnp.zeros(batch, jnp.int32)
    return Cache(layers, none, capacity, window, sinks, slack + 1, none)
