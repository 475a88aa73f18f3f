"""A cache of integers of 8 bits: a quarter of float32's bytes. Also known as: KV cache quantisation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records
from gendiff.core.types import DType
from gendiff.language.cache.cache import Cache, Sizes, key_shape, start_and_count, write_together

LARGEST = 127


@records.record
class Int8Layer:
    """All tokens up to a number, each head's key and value in 8 bits with a scale of its own.

    Attributes:
        key: (b, heads, slots, size) int8.
        value: (b, heads, slots, size) int8.
        key_scale: (b, heads, slots).
        value_scale: (b, heads, slots).
    """

    key: jax.Array
    value: jax.Array
    key_scale: jax.Array
    value_scale: jax.Array

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["Int8Layer", Array, Array, Array]:
        """Write tokens at positions ≥ 0 and return all stored ones (see `networks.transformer.LayerCache`)."""
        where = start_and_count(positions)
        keys, values = (quantised(new.swapaxes(1, 2), self.key_scale.dtype) for new in (key, value))
        layer = Int8Layer(
            write_together(self.key, keys[0], *where),
            write_together(self.value, values[0], *where),
            write_together(self.key_scale, keys[1], *where),
            write_together(self.value_scale, values[1], *where),
        )
        slots = self.key.shape[2]
        places = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32)[None], (key.shape[0], slots))
        all_keys = dequantised(layer.key, layer.key_scale, key.dtype).swapaxes(1, 2)
        return layer, all_keys, dequantised(layer.value, layer.value_scale, value.dtype).swapaxes(1, 2), places


def quantised(
    x: Float[Array, "*rows size"], scale_dtype: DType = jnp.float32
) -> tuple[Int[Array, "*rows size"], Float[Array, "*rows"]]:
    """The integers −127 … 127 of each row and its scale: the row's largest magnitude over 127.

    A row of zeros stays one. Integers have no NaN, so the scale holds it.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    scale = (jnp.max(jnp.abs(wide), -1) / LARGEST).astype(scale_dtype)
    unit = jnp.where(scale == 0, 1, scale)[..., None].astype(wide.dtype)
    return jnp.clip(jnp.round(wide / unit), -LARGEST, LARGEST).astype(jnp.int8), scale


def dequantised(
    integers: Int[Array, "*rows size"], scale: Float[Array, "*rows"], dtype: DType = jnp.float32
) -> Float[Array, "*rows size"]:
    """The integers times their scale: at most half a scale away from the quantised numbers."""
    return integers.astype(dtype) * scale[..., None].astype(dtype)


def int8(network: Sizes, batch: int, capacity: int, scale_dtype: DType = jnp.float32) -> Cache:
    """A cache of all tokens in 8 bits, without any so far.

    It takes 2 · depth · batch · key/value heads · capacity · (head size + bytes of a scale) bytes.

    Args:
        network: a `networks.LanguageModel`.
        batch: number of texts.
        capacity: the largest number of tokens of each, at most the network's context.
        scale_dtype: of the scales, one per token and head of keys and of values.

    Raises:
        ValueError: for a batch below 1, or a capacity outside 1 … context.
    """
    checks.integer("capacity", capacity, 1, network.context)
    shape = key_shape(network, batch, capacity)
    empty, none = jnp.zeros(shape, jnp.int8), jnp.zeros(shape[:-1], scale_dtype)
    return Cache(
        tuple(Int8Layer(empty, empty, none, none) for _ in range(network.depth)), jnp.zeros(batch, jnp.int32), capacity
    )
