"""What the generators and critics of pictures share: square maps from 4 × 4 pixels up to a power of two."""

import flax.linen as nn
import jax
from jaxtyping import Array, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike, DType
from gendiff.networks.adversarial.discriminator import SLOPE
from gendiff.networks.layers import Compute, dtype_of, image_inputs
from gendiff.networks.layers.embeddings import Label, checked_label

FIRST = 4
"""Pixels per side of the coarsest maps."""
GAIN = (2 / (1 + SLOPE**2)) ** 0.5
"""Gain of kernels whose input or output goes through `leaky`, so that activations keep their spread.

He et al., 2015, Eq. 15 (from memory).
"""


def leaky(x: jax.Array) -> jax.Array:
    """The leaky ReLU of all critics: x above 0, 0.2 x below."""
    return nn.leaky_relu(x, SLOPE)


class Pyramid(nn.Module):
    """The fields that a generator and its critic have in common.

    Args:
        size: pixels per side of a picture: 4, 8, 16, 32, …
        width: channels of the finest maps; each map of half the size has twice as many.
        widest: no map has more channels.
        image_channels: of a picture.
        num_classes: the condition is then a label in 0 … num_classes − 1, or NO_LABEL. None: no condition.
        dtype: of activations: "float32", "bfloat16", or None for that of the input, at least float32. Parameters stay
            float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        convolution: which of several equal implementations (see convolution.py).
    """

    size: int = 32
    width: int = 64
    widest: int = 512
    image_channels: int = 3
    num_classes: int | None = None
    dtype: DType | None = None
    precision: str | None = None
    convolution: str = "direct"

    @property
    def finest(self) -> int:
        """Pixels per side of the finest maps."""
        return self.size

    def _sides(self) -> list[int]:
        """Pixels per side of all maps, the coarsest first."""
        return [FIRST << level for level in range((self.finest // FIRST).bit_length())]

    def _channels(self, side: int) -> int:
        """Channels of the maps with this many pixels per side."""
        return min(self.width * self.finest // side, self.widest)

    def _compute(self, x: ArrayLike) -> Compute:
        return Compute(dtype_of(self.dtype, x), self.precision, self.convolution)

    def _check(self) -> None:
        image_inputs.check_size(self.size)
        checks.counts(self, "width", "widest", "image_channels")


class DCGANPyramid(Pyramid):
    """The fields of `Pyramid`.

    The finest maps have half of the picture's size: its own first or last convolution halves or doubles it.
    """

    @property
    def finest(self) -> int:
        """Pixels per side of the finest maps."""
        return max(self.size // 2, FIRST)


def checked_classes(label: Label, num_classes: int | None, batch: int) -> Shaped[Array, " b"] | None:
    """Return labels as (b,) integers, or None, as `checked_label` does, and check the number of classes."""
    if num_classes is not None:
        checks.integer("num_classes", num_classes, 1)
    return checked_label(label, num_classes, batch)
