"""The plain KV cache: a slot per position."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records
from gendiff.core.types import DType, PyTree
from gendiff.language.cache.cache import Cache, Sizes, empty_keys, scans, start_and_count, write_together


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
        layer = FullLayer(keys, values)
        return layer, *layer.stored(key.dtype, value.dtype)

    def stored(self, key: DType, value: DType) -> tuple[Array, Array, Array]:
        """Return keys and values (b, slots, heads, size) in these dtypes, and positions (b, slots), of all slots."""
        b, _, slots, _ = self.key.shape
        places = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32)[None], (b, slots))
        return self.key.astype(key).swapaxes(1, 2), self.value.astype(value).swapaxes(1, 2), places


@records.record
class FullBlocks:
    """A `FullLayer` of each block, in one stack.

    Attributes:
        key: (b, blocks, heads, slots, size).
        value: (b, blocks, heads, slots, size).
    """

    key: jax.Array
    value: jax.Array

    def block(self, number: Int[Array, ""]) -> "FullBlock":
        """The layer of one block, which is written within the stack."""
        return FullBlock(self, number)


@records.record
class FullBlock:
    """One block of a stack.

    Attributes:
        blocks: all of them.
        number: (), from 0.
    """

    blocks: FullBlocks
    number: jax.Array

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["FullBlock", Array, Array, Array]:
        """Write tokens at positions ≥ 0 and return all stored ones (see `networks.transformer.LayerCache`)."""
        where = start_and_count(positions)
        keys, values = (
            write_together(old, new.swapaxes(1, 2), *where, self.number)
            for old, new in ((self.blocks.key, key), (self.blocks.value, value))
        )
        layer = FullLayer(*(jax.lax.dynamic_index_in_dim(each, self.number, 1, False) for each in (keys, values)))
        return FullBlock(FullBlocks(keys, values), self.number), *layer.stored(key.dtype, value.dtype)


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
    empty = empty_keys(network, batch, capacity, dtype)
    layers: tuple[PyTree, ...] = (
        (FullBlocks(empty, empty),) if scans(network) else tuple(FullLayer(empty, empty) for _ in range(network.depth))
    )
    return Cache(layers, jnp.zeros(batch, jnp.int32), capacity, window, sinks)
