"""The methods of all caches: they open room for tokens, grow, are rewound, and hand out rows."""

from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, DType, PyTree

C = TypeVar("C", bound="Cache")


@runtime_checkable
class Sizes(Protocol):
    """The sizes that a cache takes from its network, a `networks.LanguageModel`."""

    context: int
    width: int
    depth: int
    heads: int
    key_value_heads: int | None
    head_size: int | None


@records.record
class Cache:
    """The KV cache of a language model. `full`, `ring`, `int8` and `paged` build one.

    The first axis of every leaf of its layers is that of the texts, and the second one of keys and values that of
    the heads: on a mesh they are split as a batch and as tensor parallelism split those. The slots of one text stay
    together. Where a network scans its blocks, all of them are one layer, whose second axis is that of the blocks.

    Attributes:
        layers: one per block of the network (`networks.transformer.LayerCache`), or one for all of them.
        length: (b,) number of tokens of each text.
        capacity: the largest number of tokens.
        window: how many tokens each one sees beside the sinks, itself included. None: all.
        sinks: how many of the first tokens it sees in any case.
        reach: how many tokens at most may be taken back, or be new at once; None: all.
        longest: (b,) the largest length so far, where `reach` is not None.
    """

    layers: tuple[PyTree, ...]
    length: jax.Array
    capacity: int = records.static()
    window: int | None = records.static(default=None)
    sinks: int = records.static(default=0)
    reach: int | None = records.static(default=None)
    longest: jax.Array | None = None

    def opened(self, count: Int[Array, " b"], most: int) -> "Cache":
        """The cache with room for further tokens; the model calls it before it writes them.

        Args:
            count: (b,) how many of each text.
            most: how many at most, which is known before.

        Raises:
            ValueError: where there is none, for concrete numbers, else `room` says so; and for more tokens at once than
                `reach`.
        """
        if self.reach is not None and most > self.reach:
            raise ValueError(
                f"{most} tokens at once, but the cache takes at most {self.reach} (slack + 1): give it more slack"
            )
        if arrays.is_concrete(count) and arrays.is_concrete(self.length):
            total = np.asarray(self.length) + np.asarray(count)
            if total.size and total.max() > self.capacity:
                raise ValueError(
                    f"text {total.argmax()} would have {total.max()} tokens, but the cache holds {self.capacity}"
                )
        return self

    def room(self) -> Int[Array, " b"]:
        """How many tokens of each text are right at most: what a model answers to later ones is NaN."""
        capacity = jnp.full_like(self.length, self.capacity)
        if self.reach is None or self.longest is None:
            return capacity
        return jnp.where(self.longest - self.length <= self.reach, capacity, 0)

    def advanced(self, layers: tuple[PyTree, ...], count: Int[Array, " b"]) -> "Cache":
        """Return the cache with these layers, some tokens (b,) longer."""
        length = self.length + count
        longest = None if self.longest is None else jnp.maximum(self.longest, length)
        return records.replace(self, layers=layers, length=length, longest=longest)

    def rewound(self, length: Int[Array, " b"] | np.ndarray | Count) -> "Cache":
        """Return the cache as it was when its texts had these lengths () or (b,).

        Under jit a longer one leaves a text as it is.

        Raises:
            ValueError: for a concrete length below 0 or above the present one, and for one that is too far back for a
                ring. Under jit the model answers NaN to a text that is too far back.
        """
        target = jnp.broadcast_to(jnp.asarray(length, jnp.int32), self.length.shape)
        if arrays.is_concrete(target) and arrays.is_concrete(self.length):
            low = 0 if self.reach is None else np.maximum(np.asarray(self.longest) - self.reach, 0)
            outside = (np.asarray(target) < low) | (np.asarray(target) > np.asarray(self.length))
            if outside.any():
                text = int(np.argmax(outside))
                least = np.broadcast_to(low, outside.shape)[text]
                raise ValueError(
                    f"length = {target[text]} is outside [{least}, {self.length[text]}], what is kept of text {text}"
                )
        return records.replace(self, length=jnp.clip(target, 0, self.length))

    def row(self, text: Count) -> "Cache":
        """The cache of one text alone."""
        cache: Cache = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, text, 1, 0), self)
        return cache

    def with_row(self: C, text: Count, row: C) -> C:
        """The cache with another one, of one text, in place of a text."""
        cache: C = jax.tree.map(lambda leaf, new: jax.lax.dynamic_update_slice_in_dim(leaf, new, text, 0), self, row)
        return cache

    def cleared(self) -> "Cache":
        """The cache without any token."""
        cache: Cache = jax.tree.map(jnp.zeros_like, self)
        return cache

    def reordered(self, texts: Int[ArrayLike, " n"]) -> "Cache":
        """The cache of the texts (n,), which may come several times or not at all."""
        cache: Cache = jax.tree.map(lambda leaf: leaf[jnp.asarray(texts)], self)
        return cache


def nbytes(cache: PyTree) -> int:
    """How many bytes the arrays of a cache hold, of all its texts."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cache))


def key_shape(network: Sizes, batch: int, slots: int) -> tuple[int, int, int, int]:
    """The shape (b, heads, slots, size) of a block's keys, and of its values. Raises ValueError for a batch below 1."""
    checks.integer("batch", batch, 1)
    heads = network.heads if network.key_value_heads is None else network.key_value_heads
    size = network.width // network.heads if network.head_size is None else network.head_size
    return batch, heads, slots, size


def scans(network: Sizes) -> bool:
    """Whether the network is a loop over its blocks, which share one layer of the cache."""
    return getattr(network, "scan_blocks", False)


def empty_keys(network: Sizes, batch: int, slots: int, dtype: DType) -> Array:
    """Zeros of the shape of a block's keys, or (b, blocks, heads, slots, size) where the network scans its blocks."""
    b, *others = key_shape(network, batch, slots)
    return jnp.zeros((b, *((network.depth,) if scans(network) else ()), *others), dtype)


def write_together(
    old: Array, new: Array, start: Int[Array, " b"], count: Int[Array, " b"], block: Int[Array, ""] | None = None
) -> Array:
    """Write the first `count` (b,) of the new tokens (b, heads, s, …) into a buffer from the slots `start` (b,) on.

    The buffer is (b, heads, slots, …), or (b, blocks, heads, slots, …) of which one block is written. Tokens behind its
    last slot are left out. One text is written in place; several by one scatter of as many windows.
    """
    lead = () if block is None else (block,)
    new = new.reshape(new.shape[0], *(1 for _ in lead), *new.shape[1:])
    axis = 1 + len(lead)
    slots, s = old.shape[1 + axis], new.shape[1 + axis]
    if s > slots:
        raise ValueError(f"{s} tokens at once do not fit into a cache of {slots}")

    def write(row: Array, fresh: Array, start: Array, count: Array) -> Array:
        # a slice is moved rather than cut at the end of the buffer, so its tokens are moved back
        first = jnp.clip(start, 0, slots - s)
        shift = start - first
        at = jnp.arange(s, dtype=start.dtype)
        inside = ((at >= shift) & (at < shift + count)).reshape((s,) + (1,) * (row.ndim - 1 - axis))
        moved = fresh if s == 1 else jnp.roll(fresh, shift, axis)
        begin = (*lead, 0, first, *(0 for _ in range(row.ndim - 1 - axis)))
        current = jax.lax.dynamic_slice(row, begin, fresh.shape)
        return jax.lax.dynamic_update_slice(row, jnp.where(inside, moved, current), begin)

    new = new.astype(old.dtype)
    # or XLA writes once for the loop and once more for attention, each into a copy
    written: Array = jax.lax.optimization_barrier(jax.vmap(write)(old, new, start, count))
    return written


def start_and_count(positions: Int[Array, "b s"]) -> tuple[Int[Array, " b"], Int[Array, " b"]]:
    """The slot of the first token of a call (b,), and the number of tokens (b,).

    Tokens take one slot after the other. The tokens of a text follow one another, and padding stands behind them. The
    patches of a picture share the position of the last one.
    """
    shared = jnp.sum(positions == positions[:, :1], 1, dtype=positions.dtype)
    return positions[:, 0] + 1 - shared, jnp.sum(positions >= 0, 1, dtype=positions.dtype)
