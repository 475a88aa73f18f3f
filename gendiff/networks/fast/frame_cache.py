"""The cache of earlier frames of a causal network of clips.

With it the cost of one more frame does not grow with their number. Also known as: KV cache.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records


@records.record
class FrameLayer:
    """KV cache of one block: keys and values of earlier frames, with frame n in slot n mod slots.

    Attributes:
        key: (b, slots, tokens of a frame, heads, size).
        value: (b, slots, tokens of a frame, heads, size).
    """

    key: Any
    value: Any

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
        return jax.vmap(lambda row, fresh, at: row.at[at].set(fresh, unique_indices=True))(
            old, frames[:, -remaining:], places
        )


@records.record
class FrameCache:
    """KV cache of a `VideoTransformer`: keys and values of earlier frames. `frame_cache` builds an empty one.

    It stands among the conditions. The network is then given the frames behind them, and answers (output, cache), with
    these frames in the cache. A caller that drops the cache has read only.

    Attributes:
        layers: one per block of the network.
        number: (b,) of the next frame: how many there were.
    """

    layers: tuple[Any, ...]
    number: Any

    @property
    def slots(self) -> int:
        """How many frames it holds."""
        return self.layers[0].key.shape[1]

    def opened(self, batch: int, blocks: int, tokens: int, reach: int | None) -> Array:
        """Check the cache against a network and its input, and return the first number (b,).

        The number is −1 where earlier frames are lost.

        Args:
            batch: number of clips.
            blocks: of the network.
            tokens: of a frame.
            reach: how many earlier frames are seen. None: all.

        Raises:
            ValueError: for a cache of other sizes, and for concrete numbers beyond what it holds.
        """
        shape = self.layers[0].key.shape
        if (len(self.layers), shape[0], shape[2]) != (blocks, batch, tokens) or np.shape(self.number) != (batch,):
            raise ValueError(
                f"the cache is of {len(self.layers)} blocks, {shape[0]} clips and {shape[2]} tokens of a frame, but "
                f"here are {blocks}, {batch} and {tokens}: build it by networks.frame_cache for this network, batch "
                "and size"
            )
        number = jnp.asarray(self.number)
        if reach is not None and self.slots >= reach:
            return number
        checks.in_range("the number of earlier frames", self.number, 0.0, float(self.slots))
        return jnp.where(number <= self.slots, number, -1)

    def advanced(self, layers: tuple[Any, ...], frames: int) -> "FrameCache":
        """Return the cache with these layers, some frames longer."""
        return FrameCache(layers, jnp.asarray(self.number) + frames)


def frame_cache(network: Any, batch: int, frames: int, height: int, width: int, dtype: Any = jnp.float32) -> FrameCache:
    """A cache without any frame so far.

    It takes 2 · depth · batch · slots · tokens of a frame · width numbers. With a window it has window − block slots,
    or `frames` if these are fewer, and may follow clips of any length; without one it has `frames` slots.

    Args:
        network: a `VideoTransformer` with attention = "causal".
        batch: number of clips.
        frames: the largest number of earlier frames. A clip may be longer by its last block, which nothing looks back
            at.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        dtype: of keys and values.

    Raises:
        ValueError: for a network whose frames see later ones, numbers below 1, and sides that the patch does not
            divide.
    """
    if network.attention != "causal":
        raise ValueError(
            f"attention = {network.attention!r} lets frames see later ones: a cache is for attention = 'causal'"
        )
    for name, value in (("batch", batch), ("frames", frames), ("height", height), ("width", width)):
        checks.integer(name, value, 1)
    if height % network.patch or width % network.patch:
        raise ValueError(f"height and width, {height} and {width}, must be multiples of {network.patch} (patch)")
    slots = frames if network.window is None else min(frames, network.window - network.block)
    tokens = (height // network.patch) * (width // network.patch)
    empty = jnp.zeros((batch, slots, tokens, network.heads, network.width // network.heads), dtype)
    return FrameCache(tuple(FrameLayer(empty, empty) for _ in range(network.depth)), jnp.zeros(batch, jnp.int32))
