"""Keys and values of the tokens so far, in buffers of a fixed length: what makes the cost of one more token independent of their number.

Every text of a batch has a length of its own. Where a token is stored follows from its position alone, and so does what it sees. So a cache
is rewound by its length: what lies behind is empty.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, records


@records.record
class FullLayer:
    """All tokens up to a number: that at position p stands in slot p.

    Attributes:
        key: (b, heads, slots, size).
        value: (b, heads, slots, size).
    """

    key: Any
    value: Any

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["FullLayer", Array, Array, Array]:
        """Write tokens, but those at negative positions, and return all that is there (see `networks.transformer.LayerCache`)."""
        slots = self.key.shape[2]
        written = FullLayer(*(_written(old, new, positions) for old, new in ((self.key, key), (self.value, value))))
        places = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32)[None], (key.shape[0], slots))
        return written, written.key.astype(key.dtype).swapaxes(1, 2), written.value.astype(value.dtype).swapaxes(1, 2), places


@records.record
class Cache:
    """What a language model keeps of the tokens so far. `full` builds one.

    Attributes:
        layers: one per block of the network.
        length: (b,) number of tokens of each text.
        capacity: the largest number of tokens.
        window: how many tokens each one sees beside the sinks, itself included. None: all.
        sinks: how many of the first tokens it sees in any case.
    """

    layers: tuple[Any, ...]
    length: Any
    capacity: int = records.static()
    window: int | None = records.static(default=None)
    sinks: int = records.static(default=0)

    def advanced(self, layers: tuple[Any, ...], count: Int[Array, " b"]) -> "Cache":
        """Return the cache with these layers, some tokens (b,) longer."""
        return records.replace(self, layers=layers, length=self.length + count)

    def rewound(self, length: Int[Array, " b"] | np.ndarray | int) -> "Cache":
        """Return the cache as it was when its texts had these lengths () or (b,).

        Raises:
            ValueError: for a concrete length below 0 or above the present one.
        """
        wanted = jnp.broadcast_to(jnp.asarray(length, jnp.int32), self.length.shape)
        if arrays.is_concrete(wanted) and arrays.is_concrete(self.length):
            outside = (np.asarray(wanted) < 0) | (np.asarray(wanted) > np.asarray(self.length))
            if outside.any():
                text = int(np.argmax(outside))
                raise ValueError(f"length = {wanted[text]} is outside [0, {self.length[text]}], the present length of text {text}")
        return records.replace(self, length=jnp.minimum(wanted, self.length))


def full(network: Any, batch: int, capacity: int, dtype: Any = jnp.float32) -> Cache:
    """A cache of all tokens, without any so far.

    Args:
        network: a `networks.LanguageModel`.
        batch: number of texts.
        capacity: the largest number of tokens of each, at most the network's context.
        dtype: of keys and values.

    Raises:
        ValueError: for a batch below 1, or a capacity outside 1 … context.
    """
    checks.integer("batch", batch, 1)
    checks.integer("capacity", capacity, 1, network.context)
    heads = network.heads if network.key_value_heads is None else network.key_value_heads
    size = network.width // network.heads if network.head_size is None else network.head_size
    empty = jnp.zeros((batch, heads, capacity, size), dtype)
    return Cache(tuple(FullLayer(empty, empty) for _ in range(network.depth)), jnp.zeros(batch, jnp.int32), capacity)


def _written(old: Array, new: Array, positions: Array) -> Array:
    """The buffer (b, heads, slots, size) with new tokens (b, s, heads, size) in the slots (b, s); a slot that there is not is left out."""
    slots = jnp.where(positions < 0, old.shape[2], positions)
    write = jax.vmap(lambda row, fresh, at: row.at[:, at].set(fresh, mode="drop", unique_indices=False))
    return write(old, new.astype(old.dtype).swapaxes(1, 2), slots)
