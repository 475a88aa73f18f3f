"""The cache of earlier frames of a causal network of clips.

With it the cost of one more frame does not grow with their number. Also known as: KV cache.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike


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
    """KV cache of a `VideoTransformer`: keys and values of earlier frames. `frame_cache` builds an empty one.

    It stands among the conditions. The network is then given the frames behind them, and answers (output, cache), with
    these frames in the cache. A caller that drops the cache has read only.

    Attributes:
        layers: one per block of the network.
        number: (b,) of the next frame: how many there were.
    """

    layers: tuple[FrameLayer, ...]
    number: ArrayLike

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

    def advanced(self, layers: tuple[FrameLayer, ...], frames: int) -> "FrameCache":
        """Return the cache with these layers, some frames longer."""
        return FrameCache(layers, jnp.asarray(self.number) + frames)
