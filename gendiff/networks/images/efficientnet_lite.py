"""EfficientNet-Lite0, a classifier of photographs whose pooled features compare sets of images (Tan & Le, 2019).

MobileNet's inverted bottlenecks: widen by a convolution of single pixels, look around by a depthwise one, narrow again.
Lite variants have no squeeze-and-excitation, and ReLU6 in place of swish. This network only infers: batch norm with its
statistics is one affine map, and so a part of the kernel and the bias of the convolution before it.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, packed
from gendiff.core.types import ArrayLike, DType
from gendiff.networks.layers import Compute, dense, dtype_of, initializers, parameter
from gendiff.networks.layers.convolution import Convolution


class Stage(NamedTuple):
    """Blocks of one size of image.

    Attributes:
        blocks: how many.
        size: side of the depthwise kernels.
        stride: of the first block; the others keep the size.
        expansion: how many times as wide blocks are inside.
        channels: of the output.
    """

    blocks: int
    size: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Of variant 0: Tan & Le, 2019, Table 1."""
STEM, FEATURES = 32, 1280
REDUCTION = 32
"""Pixels of the image per pixel of the last map, in each direction."""


class Classified(NamedTuple):
    """Features and logits of images.

    Attributes:
        features: the mean of the last map over its pixels.
        logits: of the classes.
    """

    features: Float[Array, "b 1280"]
    logits: Float[Array, "b k"]


class EfficientNetLite(nn.Module):
    """Features and logits of images (b, h, w, 3), made for 224 × 224 and values (v − 127) / 128 of v in 0 … 255.

    `weights.efficientnet_lite0` has the parameters of ImageNet's 1000 classes.

    Args:
        num_classes: of the logits.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest"; on accelerators only "highest" has a CPU's digits.

    References:
        Tan & Le, 2019, Table 1; Sandler et al., 2018, Table 1 (from memory).
    """

    num_classes: int = 1000
    dtype: DType | None = None
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w 3"]) -> Classified:
        """Return features and logits, in the dtype of x.

        Args:
            x: (b, h, w, 3), each side a multiple of 32.

        Raises:
            ValueError: for other shapes.
            TypeError: unless x is floating.
        """
        checks.floating("x", x)
        if x.ndim != 4 or x.shape[-1] != 3 or any(side < REDUCTION or side % REDUCTION for side in x.shape[1:3]):
            raise ValueError(
                f"x has shape {x.shape}: (b, h, w, 3) with sides that are multiples of {REDUCTION} is needed; "
                "resize, and repeat a grey channel"
            )
        compute = Compute(dtype_of(self.dtype, x), self.precision)
        y = Convolution(STEM, 3, 2, compute=compute, padding=_around(3, 2), name="stem")(jnp.asarray(x))
        y = nn.relu6(y)
        number = 0
        for stage in STAGES:
            for stride in (stage.stride, *(1,) * (stage.blocks - 1)):
                name = f"block_{number}"
                y = Bottleneck(stage.channels, stage.size, stride, stage.expansion, compute, name=name)(y)
                number += 1
        y = nn.relu6(Convolution(FEATURES, 1, compute=compute, name="head")(y))
        features = jnp.mean(y.astype(jnp.promote_types(y.dtype, jnp.float32)), (1, 2)).astype(x.dtype)
        logits = dense(self.num_classes, compute, "classifier")(features).astype(x.dtype)
        return Classified(features, logits)


class Bottleneck(nn.Module):
    """Widen, look around channel by channel, narrow; the input is added where the output has its shape.

    Args:
        channels: of the output.
        size: side of the depthwise kernel.
        stride: of the depthwise convolution.
        expansion: how many times as wide it is inside.
        compute: how to compute.
    """

    channels: int
    size: int
    stride: int
    expansion: int
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Return x + narrow(relu6(depthwise(relu6(widen(x))))), or without x."""
        y = x
        if self.expansion > 1:
            wide = self.expansion * x.shape[-1]
            y = nn.relu6(Convolution(wide, 1, compute=self.compute, name="expand")(y))
        y = nn.relu6(Depthwise(self.size, self.stride, self.compute, name="depthwise")(y))
        y = Convolution(self.channels, 1, compute=self.compute, name="project")(y)
        return x + y if y.shape == x.shape else y


class Depthwise(nn.Module):
    """A convolution of each channel with a kernel of its own, and bias. Its kernel is (size, size, 1, c).

    It is a sum of shifted images: on 2 cores 2 to 80 times faster than XLA's grouped convolution.

    Args:
        size: side of the kernel.
        stride: in both directions.
        compute: how to compute.
    """

    size: int = 3
    stride: int = 1
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """Convolve between zeros, then add the bias."""
        channels, dtype = x.shape[-1], self.compute.dtype
        kernel = parameter(self, "kernel", initializers.kernel(), (self.size, self.size, 1, channels))
        bias = parameter(self, "bias", initializers.zeros, (channels,)).astype(dtype)
        around = _around(self.size, self.stride)
        padded = jnp.pad(x.astype(dtype), ((0, 0), around, around, (0, 0)))
        kernel = packed.as_array(kernel, dtype)
        rows, columns = (side // self.stride for side in x.shape[1:3])
        y = jnp.broadcast_to(bias.reshape(1, 1, 1, -1), (len(x), rows, columns, channels))
        for i in range(self.size):
            for j in range(self.size):
                part = padded[:, i : i + x.shape[1] : self.stride, j : j + x.shape[2] : self.stride]
                y = y + part * kernel[i, j].reshape(1, 1, 1, -1)
        return y


def _around(size: int, stride: int) -> tuple[int, int]:
    """Zeros on both sides, so that an image whose side the stride divides becomes that many times smaller: "SAME"."""
    return (size - stride) // 2, (size - stride + 1) // 2
