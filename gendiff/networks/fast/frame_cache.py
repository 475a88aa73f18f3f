"""The cache of earlier frames of a causal network of clips.

With it the cost of one more frame does not grow with their number. Also known as: KV cache.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records
from gendiff.core.records import static
from gendiff.core.types import ArrayLike, DType, Numeric


@records.record
class SeenFrames:
    """Which frames each frame sees: those of its block, and of all or the last blocks before it.

    Args:
        block: frames of a block.
        window: how many frames are seen, those of the block included. None: all.
    """

    block: int = static()
    window: int | None = static(default=None)

    def __call__(self, queries: Numeric, keys: Numeric) -> Numeric:
        """Return the mask (b, 1, s, k), from the numbers of the frames of queries (b, s) and of keys (b, k).

        Those below 0 are empty.
        """
        block, other = queries[:, None, :, None] // self.block, keys[:, None, None, :] // self.block
        visible = (other >= 0) & (other <= block)
        return visible if self.window is None else visible & (other > block - self.window // self.block)


@records.record
class FrameLayer:
    """KV cache of one block: keys and values of earlier frames, with frame n in slot n mod slots.

    Attributes:
        key: (b, slots, tokens of a frame, heads, size).
        value: (b, slots, tokens of a frame, heads, size).
    """

    key: jax.Array
    value: jax.Array

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["FrameLayer", Array, Array, Array]:
        """Return the earlier frames with new ones behind them, and the layer with the last of all in it.

        The new frames take no slot until then: they see every frame that the layer held. A position is the number of a
        token's frame. See `networks.transformer.LayerCache`.
        """
        b, slots, tokens, *rest = self.key.shape
        first = positions[:, 0]
        known = jnp.concatenate([jnp.repeat(self._numbers(first), tokens, 1), positions], 1)
        keys, values = (
            jnp.concatenate([old.reshape(b, slots * tokens, *rest).astype(new.dtype), new], 1)
            for old, new in ((self.key, key), (self.value, value))
        )
        return (
            FrameLayer(self._written(self.key, key, first), self._written(self.value, value, first)),
            keys,
            values,
            known,
        )

    def _numbers(self, end: Int[Array, " b"]) -> Int[Array, "b slots"]:
        """The number of the frame in each slot when there are `end` (b,) frames; −1 for none."""
        slots = self.key.shape[1]
        newest = end[:, None] - 1
        return jnp.maximum(newest - (newest - jnp.arange(slots, dtype=end.dtype)[None]) % max(slots, 1), -1)

    def _written(self, old: Array, new: Array, first: Int[Array, " b"]) -> Array:
        """Return the slots with the new frames (b, s, heads, size) that stay.

        The first new frame has the number `first` (b,).
        """
        b, slots, tokens, *rest = old.shape
        frames = new.reshape(b, -1, tokens, *rest).astype(old.dtype)
        remaining = min(frames.shape[1], slots)
        if not remaining:
            return old
        places = (
            first[:, None] + jnp.arange(frames.shape[1] - remaining, frames.shape[1], dtype=first.dtype)[None]
        ) % slots

        def write(row: Array, fresh: Array, at: Array) -> Array:
            return row.at[at].set(fresh, unique_indices=True)

        return jax.vmap(write)(old, frames[:, -remaining:], places)


@records.record
class FrameCache:
    """KV cache of a causal network of clips: keys and values of earlier frames. `frame_cache` builds an empty one.

    It stands among the conditions. The network is then given the frames behind them, and answers (output, cache), with
    these frames in the cache. A caller that drops the cache has read only.

    Attributes:
        layers: one per layer that looks along time.
        number: (b,) of the next frame: how many there were.
        frames: (b, previous, h, w, c) the last frames themselves, the newest last and 0 where there was none, of a
            network that reads them; None for others.
    """

    layers: tuple[FrameLayer, ...]
    number: ArrayLike
    frames: ArrayLike | None = None

    @property
    def slots(self) -> int:
        """How many frames it holds."""
        return self.layers[0].key.shape[1]

    def opened(self, batch: int, tokens: tuple[int, ...], reach: int | None) -> Array:
        """Check the cache against a network and its input, and return the first number (b,).

        The number is −1 where earlier frames are lost.

        Args:
            batch: number of clips.
            tokens: of a frame, in each layer.
            reach: how many earlier frames are seen. None: all.

        Raises:
            ValueError: for a cache of other sizes, and for concrete numbers beyond what it holds.
        """
        clips, stored = self.layers[0].key.shape[0], tuple(layer.key.shape[2] for layer in self.layers)
        if (clips, stored) != (batch, tokens) or np.shape(self.number) != (batch,):
            raise ValueError(
                f"the cache is of {len(stored)} layers, {clips} clips and {_counts(stored)} tokens of a frame, but "
                f"here are {len(tokens)}, {batch} and {_counts(tokens)}: build it by networks.frame_cache for this "
                "network, batch and size"
            )
        number = jnp.asarray(self.number)
        if reach is not None and self.slots >= reach:
            return number
        checks.in_range("the number of earlier frames", self.number, 0.0, float(self.slots))
        return jnp.where(number <= self.slots, number, -1)

    def advanced(self, layers: tuple[FrameLayer, ...], count: int, frames: Array | None = None) -> "FrameCache":
        """Return the cache with these layers and last frames, `count` frames longer."""
        return FrameCache(layers, jnp.asarray(self.number) + count, frames)


class CacheShapes(NamedTuple):
    """What a cache holds of each frame.

    Attributes:
        layers: (tokens of a frame, heads, size) of each layer that looks along time.
        reach: how many earlier frames are seen. None: all.
        previous: how many of the last frames are stored themselves.
    """

    layers: tuple[tuple[int, int, int], ...]
    reach: int | None
    previous: int = 0


@runtime_checkable
class CachedNetwork(Protocol):
    """A causal network of clips, such as `VideoTransformer` and `VideoUNet`."""

    def cache_shapes(self, height: int, width: int) -> CacheShapes:
        """What its cache holds of each frame of this size; ValueError where it can have none."""


def frame_cache(
    network: CachedNetwork,
    batch: int,
    frames: int,
    height: int,
    width: int,
    dtype: DType = jnp.float32,
    *,
    channels: int = 1,
) -> FrameCache:
    """A cache without any frame so far.

    It takes 2 · batch · slots · tokens of a frame · channels numbers for each layer that looks along time. With a
    window it has one slot for each earlier frame that is seen, or `frames` if these are fewer, and may follow clips of
    any length; without one it has `frames` slots.

    Args:
        network: with causal attention.
        batch: number of clips.
        frames: the largest number of earlier frames. A clip may be longer by its last block, which nothing looks back
            at.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        dtype: of keys and values.
        channels: of a frame, for a network that stores the last frames themselves.

    Raises:
        ValueError: for a network whose frames see later ones, numbers below 1, and sides that it does not take.
    """
    sizes = {"batch": batch, "frames": frames, "height": height, "width": width, "channels": channels}
    for name, value in sizes.items():
        checks.integer(name, value, 1)
    shapes = network.cache_shapes(height, width)
    slots = frames if shapes.reach is None else min(frames, shapes.reach)
    layers = []
    for tokens, heads, size in shapes.layers:
        empty = jnp.zeros((batch, slots, tokens, heads, size), dtype)
        layers.append(FrameLayer(empty, empty))
    last = jnp.zeros((batch, shapes.previous, height, width, channels), dtype) if shapes.previous else None
    return FrameCache(tuple(layers), jnp.zeros(batch, jnp.int32), last)


def _counts(numbers: tuple[int, ...]) -> str:
    """Equal numbers once, others all."""
    return ", ".join(map(str, dict.fromkeys(numbers) if len(set(numbers)) == 1 else numbers))
