"""A cache in pages that texts take as they grow: short texts share the room of long ones. As in PagedAttention."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, DType, PyTree
from gendiff.language.cache.cache import Cache, Sizes, empty_keys, key_shape, scans, start_and_count

RESERVED = 0
"""The page that no text has: tokens without a slot are written there, and no token reads it."""


@records.record
class PagedLayer:
    """Pages of a block's keys and values, and which of them each text has.

    Attributes:
        key: (pages, heads, page, size).
        value: (pages, heads, page, size).
        table: (b, n) pages of each text in the order of its tokens, RESERVED behind them.
    """

    key: jax.Array
    value: jax.Array
    table: jax.Array

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["PagedLayer", Array, Array, Array]:
        """Write tokens at positions ≥ 0 and return all stored ones (see `networks.transformer.LayerCache`)."""
        pools, stored = _updated((self.key, self.value), self.table, (), key, value, positions)
        return PagedLayer(*pools, self.table), *stored


@records.record
class PagedBlocks:
    """A `PagedLayer` of each block, in one stack with one table.

    Attributes:
        key: (pages, blocks, heads, page, size).
        value: (pages, blocks, heads, page, size).
        table: as of `PagedLayer`.
    """

    key: jax.Array
    value: jax.Array
    table: jax.Array

    def block(self, number: Int[Array, ""]) -> "PagedBlock":
        """The layer of one block, which is written within the stack."""
        return PagedBlock(self, number)


@records.record
class PagedBlock:
    """One block of a stack.

    Attributes:
        blocks: all of them.
        number: (), from 0.
    """

    blocks: PagedBlocks
    number: jax.Array

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["PagedBlock", Array, Array, Array]:
        """Write tokens at positions ≥ 0 and return all stored ones (see `networks.transformer.LayerCache`)."""
        pools = self.blocks.key, self.blocks.value
        pools, stored = _updated(pools, self.blocks.table, (self.number,), key, value, positions)
        return PagedBlock(PagedBlocks(*pools, self.blocks.table), self.number), *stored


def _updated(
    pools: tuple[Array, Array],
    table: Int[Array, "b n"],
    block: tuple[Array, ...],
    key: Float[Array, "b s heads size"],
    value: Float[Array, "b s heads size"],
    positions: Int[Array, "b s"],
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
    """Write keys and values into their pools, of a stack into one block. Return these, and all stored ones."""
    page = pools[0].shape[-2]
    slots = start_and_count(positions)[0][:, None] + jnp.arange(positions.shape[1], dtype=positions.dtype)[None]
    number = jnp.clip(slots // page, 0, table.shape[1] - 1)
    beyond = (positions < 0) | (slots >= table.shape[1] * page)
    pages = jnp.where(beyond, RESERVED, jnp.take_along_axis(table, number, 1))
    where = (pages, *block, slice(None), slots % page)
    keys, values = (old.at[where].set(new.astype(old.dtype)) for old, new in zip(pools, (key, value), strict=True))
    places = jnp.arange(table.shape[1] * page, dtype=jnp.int32)[None]
    held = (jnp.repeat(table, page, 1) != RESERVED) & (places <= jnp.max(positions, 1, keepdims=True))

    def read(pool: Array) -> Float[Array, "b k heads size"]:
        rows = pool[(table, *block)].swapaxes(2, 3)
        return rows.reshape(rows.shape[0], -1, *rows.shape[3:])

    # what another text left in a page may be no number, which even a weight of 0 would spread
    visible = jnp.where(held[..., None, None], read(values).astype(value.dtype), 0)
    return (keys, values), (read(keys).astype(key.dtype), visible, jnp.where(held, places, -1))


@records.record
class PagedCache(Cache):
    """A cache in pages. `paged` builds one.

    Free pages are `free[:available]`; they, those of the texts and the reserved one are all pages, at any time.

    Attributes:
        free: (pages − 1,) the stack of free pages.
        available: () how many these are.
    """

    free: jax.Array = dataclasses.field(kw_only=True)
    available: jax.Array = dataclasses.field(kw_only=True)

    @property
    def page(self) -> int:
        """How many tokens a page holds."""
        page: int = self.layers[0].key.shape[-2]
        return page

    def opened(self, count: Int[Array, " b"], most: int) -> "PagedCache":
        """The cache with pages for so many further tokens (b,): earlier texts take theirs first (see `Cache.opened`).

        Raises:
            ValueError: where the pages or the capacity do not suffice, for concrete numbers. Else `room` says so.
        """
        Cache.opened(self, count, most)
        table = self.layers[0].table
        held = jnp.sum(table != RESERVED, 1, dtype=jnp.int32)
        needed = jnp.minimum(-(-(self.length + count) // self.page), table.shape[1])
        new = jnp.maximum(needed - held, 0)
        total = jnp.sum(new)
        if arrays.is_concrete(total) and arrays.is_concrete(self.available) and total > self.available:
            raise ValueError(
                f"{total} pages are needed, but {self.available} are free: give `paged` more, or rewind texts that "
                "have ended"
            )
        before = (jnp.cumsum(new) - new)[:, None]
        number = jnp.arange(table.shape[1], dtype=jnp.int32)[None] - held[:, None]
        taken = self.available - 1 - before - number  # from the top of the stack
        fresh = (number >= 0) & (number < new[:, None]) & (taken >= 0)
        table = jnp.where(fresh, self.free[jnp.maximum(taken, 0)], table)
        return self._with(table, self.free, jnp.maximum(self.available - total, 0))

    def room(self) -> Int[Array, " b"]:
        """How many tokens of each text its pages hold: what a model answers to later ones is NaN."""
        held = jnp.sum(self.layers[0].table != RESERVED, 1, dtype=jnp.int32)
        return jnp.minimum(held * self.page, self.capacity)

    def rewound(self, length: Int[Array, " b"] | np.ndarray | Count) -> "PagedCache":
        """The cache as it was at these lengths () or (b,); the pages beyond are free (see `Cache.rewound`)."""
        cache = records.replace(self, length=super().rewound(length).length)
        table = cache.layers[0].table
        remaining = -(-cache.length // self.page)[:, None]
        back = (jnp.arange(table.shape[1], dtype=jnp.int32)[None] >= remaining) & (table != RESERVED)
        order = jnp.cumsum(back.ravel(), dtype=jnp.int32).reshape(back.shape) - 1
        places = jnp.where(back, self.available + order, self.free.shape[0])
        free = self.free.at[places].set(table, mode="drop")
        return cache._with(jnp.where(back, RESERVED, table), free, self.available + jnp.sum(back, dtype=jnp.int32))

    def row(self, text: Count) -> "PagedCache":
        """The cache of one text alone, with the pages of all."""
        table, length = (values[jnp.asarray(text)[None]] for values in (self.layers[0].table, self.length))
        return records.replace(self._with(table, self.free, self.available), length=length)

    def with_row(self, text: Count, row: "PagedCache") -> "PagedCache":
        """The cache after one of its texts has changed, alone."""
        table = self.layers[0].table.at[text].set(row.layers[0].table[0])
        cache = records.replace(self, layers=row.layers, length=self.length.at[text].set(row.length[0]))
        return cache._with(table, row.free, row.available)

    def narrowed(self, pages: int) -> "PagedCache":
        """The cache of texts that have at most so many pages: less is gathered for reading."""
        return self._with(self.layers[0].table[:, :pages], self.free, self.available)

    def widened(self, narrow: "PagedCache") -> "PagedCache":
        """The cache after a narrowed one has changed."""
        table = self.layers[0].table.at[:, : narrow.layers[0].table.shape[1]].set(narrow.layers[0].table)
        cache = records.replace(self, layers=narrow.layers, length=narrow.length)
        return cache._with(table, narrow.free, narrow.available)

    def cleared(self) -> "PagedCache":
        """The cache without any token, and its pages free."""
        return self.rewound(0)

    def reordered(self, texts: Int[ArrayLike, " n"]) -> "PagedCache":
        """Not possible: texts would share pages.

        Raises:
            TypeError: always.
        """
        raise TypeError("texts of a paged cache cannot be copied, as they would share pages: use cache.full")

    def _with(self, table: Array, free: Array, available: Array) -> "PagedCache":
        layers = tuple(records.replace(layer, table=table) for layer in self.layers)
        return records.replace(self, layers=layers, free=free, available=available)


def paged(
    network: Sizes,
    batch: int,
    capacity: int,
    dtype: DType = jnp.float32,
    *,
    pages: int,
    page: int = 16,
    order: ArrayLike | Sequence[int] | None = None,
) -> PagedCache:
    """A cache in pages, without any token so far.

    It takes 2 · depth · pages · key/value heads · page · head size numbers, whatever batch and capacity. All texts are
    gathered for reading, so that it costs what a full cache costs.

    Args:
        network: a `networks.LanguageModel`.
        batch: number of texts.
        capacity: the largest number of tokens of each, at most the network's context.
        dtype: of keys and values.
        pages: how many there are, of which one is reserved.
        page: how many tokens each holds.
        order: (pages − 1,) the pages 1 … pages − 1 in the order in which they are taken. None: as they stand.

    Raises:
        ValueError: for numbers below what is possible, a capacity outside 1 … context, and an order that is none of
            those pages.

    References:
        Kwon et al., 2023, section 4.2 (from memory).
    """
    checks.integer("capacity", capacity, 1, network.context)
    checks.integer("pages", pages, 2)
    checks.integer("page", page, 1)
    taken = np.arange(1, pages) if order is None else np.asarray(order)
    if not np.array_equal(np.sort(taken), np.arange(1, pages)):
        raise ValueError(f"order must hold each of the pages 1 … {pages - 1} once")
    key_shape(network, batch, 1)
    table = jnp.full((batch, -(-capacity // page)), RESERVED, jnp.int32)
    empty = empty_keys(network, pages, page, dtype)
    layers: tuple[PyTree, ...] = (
        (PagedBlocks(empty, empty, table),)
        if scans(network)
        else tuple(PagedLayer(empty, empty, table) for _ in range(network.depth))
    )
    free = jnp.asarray(taken[::-1], jnp.int32)
    return PagedCache(
        layers, jnp.zeros(batch, jnp.int32), capacity, free=free, available=jnp.asarray(pages - 1, jnp.int32)
    )
