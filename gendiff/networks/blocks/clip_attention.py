"""Attention of the feature maps of a clip along time: at each place, or over all places of all frames."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.networks.fast.frame_cache import FrameLayer, SeenFrames
from gendiff.networks.layers import Compute, GroupNorm, dense
from gendiff.networks.layers.attention import attend
from gendiff.networks.layers.rotary import Rotary, clip_channels, rotate


class ClipAttention(nn.Module):
    """Residual self-attention over the frames of a clip, group-normalised first; it starts as the identity.

    Rotary positions tell the frame, and the row and column where places see each other.

    Args:
        heads: their number, which divides the channels into heads of an even size.
        groups: of the norm, which divide the channels.
        compute: how to compute; on a torus rows and columns have no ends.
        epsilon: what the norm adds to a variance.
        joint: True: every place of every frame sees all. False: a place sees itself in other frames.
        visible: which frames each frame sees. None: all.
        rotary_base: of the frequencies of rotary positions.

    References:
        Ho et al., 2022 (video diffusion models), section 3, for attention along time (from memory).
    """

    heads: int
    groups: int
    compute: Compute = Compute()
    epsilon: float = 1e-5
    joint: bool = False
    visible: SeenFrames | None = None
    rotary_base: float = 10.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b f h w c"], first: Int[Array, " b"], cache: FrameLayer | None = None
    ) -> tuple[Float[Array, "b f h w c"], FrameLayer | None]:
        """Add to each pixel what it attends to. With a cache, return it with these frames in it, too.

        Args:
            x: (b, f, h, w, c) maps.
            first: (b,) the number of the first frame.
            cache: keys and values of the frames before it.

        Raises:
            ValueError: when the heads do not divide the channels into heads of an even size.
        """
        b, f, h, w, c = x.shape
        if c % self.heads or c // self.heads % 2:
            raise ValueError(f"heads = {self.heads} must divide the {c} channels of {self.name} into even parts")
        y = GroupNorm(self.groups, self.compute, self.epsilon, name="norm")(x.reshape(b * f, h, w, c))
        y = dense(3 * c, self.compute, "qkv")(y).reshape(b, f * h * w, 3 * self.heads, c // self.heads)
        query, key, value = jnp.split(y, 3, 2)
        rotary, positions = self._positions(first, (f, h, w), c // self.heads)
        query, key = rotate(query, positions, rotary), rotate(key, positions, rotary)
        numbers = known = positions[:, :, 0]
        if cache is not None:
            cache, key, value, known = cache.updated(key, value, numbers)
        if not self.joint:  # one sequence of frames for each place
            query, key, value = (_by_place(each, h * w) for each in (query, key, value))
            numbers, known = numbers[:, :: h * w], known[:, :: h * w]
        mask = None if self.visible is None else self.visible(numbers, known)
        if mask is not None and not self.joint:
            mask = jnp.repeat(mask, h * w, 0)
        y = attend(query, key, value, mask, implementation=self.compute.attention, precision=self.compute.precision)
        if not self.joint:
            y = y.reshape(b, h * w, f, c).swapaxes(1, 2)
        return x + dense(c, self.compute, "output", zero=True)(y.reshape(x.shape)), cache

    def _positions(
        self, first: Int[Array, " b"], size: tuple[int, int, int], head_size: int
    ) -> tuple[Rotary, Int[Array, "b s axes"]]:
        """How tokens turn, and the frame of each, or frame, row and column."""
        frame, row, column = (each.reshape(1, -1) for each in jnp.indices(size, jnp.int32))
        frame = frame + first.astype(jnp.int32)[:, None]
        if not self.joint:
            return Rotary(self.rotary_base), frame[..., None]
        periods = (None, *size[1:]) if self.compute.circular else None
        places = (jnp.broadcast_to(each, frame.shape) for each in (row, column))
        return Rotary(self.rotary_base, channels=clip_channels(head_size), periods=periods), jnp.stack(
            [frame, *places], -1
        )


def _by_place(tokens: jax.Array, places: int) -> jax.Array:
    """Tokens (b, frames · places, heads, size) as (b · places, frames, heads, size)."""
    b, s, *rest = tokens.shape
    return tokens.reshape(b, s // places, places, *rest).swapaxes(1, 2).reshape(b * places, s // places, *rest)
