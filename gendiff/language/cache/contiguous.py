"""The plain KV cache: a slot per position."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records
from gendiff.core.types import DType
from gendiff.language.cache.cache import Cache, Sizes, key_shape, start_and_count, write_together


@records.record
class FullLayer:
    """All tokens up to a number: that at position p stands in slot p.

    Attributes:
        key: (b, heads, slots, size).
        value: (b, heads, slots, size).
    """

    key: jax.Array
    value: jax.Array

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["FullLayer", Array, Array, Array]:
        """Write tokens at positions ≥ 0 and return all stored ones (see `networks.transformer.LayerCache`)."""
        where = start_and_count(positions)
        keys, values = (
            write_together(old, new.swapaxes(1, 2), *where) for old, new in ((self.key, key), (self.value, value))
        )
        places = jnp.broadcast_to(jnp.arange(keys.shape[2], dtype=jnp.int32)[None], (keys.shape[0], keys.shape[2]))
        layer = FullLayer(keys, values)
        return layer, keys.astype(key.dtype).swapaxes(1, 2), values.astype(value.dtype).swapaxes(1, 2), places


def full(
    network: Sizes, batch: int, capacity: int, dtype: DType = jnp.float32, *, window: int | None = None, sinks: int = 0
) -> Cache:
    """A cache of all tokens, without any so far.

    It takes 2 · depth · batch · key/value heads · capacity · head size numbers.

    Args:
        network: a `networks.LanguageModel`.
        batch: number of texts.
        capacity: the largest number of tokens of each, at most the network's context.
        dtype: of keys and values.
        window: how many tokens each one sees beside the sinks. None: all that the network lets it see.
        sinks: how many of the first tokens each one sees in any case.

    Raises:
        ValueError: for a batch, window or sinks below what is possible, or a capacity outside 1 … context.
    """
    checks.integer("capacity", capacity, 1, network.context)
    checks.integer("sinks", sinks, 0)
    if window is not None:
        checks.integer("window", window, 1)
    empty = jnp.zeros(key_shape(network, batch, capacity), dtype)
    layers = tuple(FullLayer(empty, empty) for _ in range(network.depth))
    return Cache(layers, jnp.zeros(batch, jnp.int32), capacity, window, sinks)
