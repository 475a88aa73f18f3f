"""Inception-v3 up to its pooled features, the feature space of the Fréchet inception distance (FID).

Szegedy et al., 2016; Heusel et al., 2017.

Two networks of the same parameters: the published one, as in torchvision, and the one of 2015 whose features FID is
defined on. They differ in pooling only: the latter leaves padding out of its averages, and the last block takes a
maximum.

Batch norm is applied with fixed statistics, which are parameters here:
(conv(x) − mean) / √(variance + 0.001) · scale + bias, then ReLU.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, packed
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.layers import Compute, dtype_of, initializers, parameter

EPSILON = 1e-3
SMALLEST = 75
"""Pixels of the smallest side: below it a pooling has no window."""
POOLING = {"fid": ("average", "maximum"), "torchvision": ("padded average", "padded average")}
"""Variant -> the pooling of the blocks but the last, and that of the last."""


class Inception(nn.Module):
    """Pool features (b, 2048) of images (b, h, w, 3), made for 299 × 299 and values in [−1, 1].

    `weights.torchvision_inception` loads parameters. With those of 2015 and variant "fid" the features are FID's.

    Args:
        variant: "fid" for the network of 2015, as pytorch-fid has it, "torchvision" for the published one.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest"; on accelerators only "highest" gives the digits of
            a CPU.

    References:
        Szegedy et al., 2016, Table 1; Heusel et al., 2017, section 3.
    """

    variant: str = "fid"
    dtype: DType | None = None
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w 3"]) -> Float[Array, "b 2048"]:
        """Return the mean of the last feature map over its pixels, in the dtype of x.

        Args:
            x: (b, h, w, 3), each side at least 75 pixels.

        Raises:
            ValueError: for an unknown variant, other shapes and smaller images.
            TypeError: unless x is floating.
        """
        checks.choice("variant", self.variant, POOLING)
        checks.floating("x", x)
        if x.ndim != 4 or x.shape[-1] != 3 or min(x.shape[1:3]) < SMALLEST:
            raise ValueError(
                f"x has shape {x.shape}: (b, h, w, 3) with sides of at least {SMALLEST} pixels is needed; repeat a "
                "grey channel"
            )
        compute = Compute(dtype_of(self.dtype, x), self.precision)
        unit = functools.partial(Unit, compute=compute)
        inner, last = POOLING[self.variant]

        y = unit(32, (3, 3), 2, padded=False, name="conv2d_1a_3x3")(jnp.asarray(x).astype(compute.dtype))
        y = unit(32, (3, 3), padded=False, name="conv2d_2a_3x3")(y)
        y = unit(64, (3, 3), name="conv2d_2b_3x3")(y)
        y = nn.max_pool(y, (3, 3), (2, 2))
        y = unit(80, name="conv2d_3b_1x1")(y)
        y = unit(192, (3, 3), padded=False, name="conv2d_4a_3x3")(y)
        y = nn.max_pool(y, (3, 3), (2, 2))
        for name, features in (("mixed_5b", 32), ("mixed_5c", 64), ("mixed_5d", 64)):
            y = Fine(features, inner, compute, name=name)(y)
        y = FineToMedium(compute, name="mixed_6a")(y)
        for name, features in (("mixed_6b", 128), ("mixed_6c", 160), ("mixed_6d", 160), ("mixed_6e", 192)):
            y = Medium(features, inner, compute, name=name)(y)
        y = MediumToCoarse(compute, name="mixed_7a")(y)
        y = Coarse(inner, compute, name="mixed_7b")(y)
        y = Coarse(last, compute, name="mixed_7c")(y)
        return jnp.mean(y.astype(jnp.promote_types(y.dtype, jnp.float32)), (1, 2)).astype(x.dtype)


class Unit(nn.Module):
    """Convolution without bias, batch norm with fixed statistics, ReLU.

    Args:
        features: channels of the output.
        size: (rows, columns) of the kernel, both odd.
        stride: in both directions.
        padded: with zeros, so that stride 1 keeps the size; otherwise no padding.
        compute: how to compute.
    """

    features: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Return relu((conv(x) − mean) / √(variance + 0.001) · scale + bias)."""
        channels, dtype = (self.features,), self.compute.dtype
        kernel = packed.as_array(
            parameter(self, "kernel", initializers.kernel(), (*self.size, x.shape[-1], self.features)), dtype
        )
        scale, bias = (
            parameter(self, "scale", initializers.ones, channels),
            parameter(self, "bias", initializers.zeros, channels),
        )
        mean, variance = (
            parameter(self, "mean", initializers.zeros, channels),
            parameter(self, "variance", initializers.ones, channels),
        )
        rows, columns = ((size // 2, size // 2) if self.padded else (0, 0) for size in self.size)
        y = fast.direct_convolution(x, kernel, self.stride, (rows, columns), self.compute.precision)
        factor = scale / jnp.sqrt(variance + EPSILON)
        offset = bias - mean * factor
        return nn.relu(y * factor.astype(dtype).reshape(1, 1, 1, -1) + offset.astype(dtype).reshape(1, 1, 1, -1))


class Fine(nn.Module):
    """A block on the finest map, 35 × 35 pixels of an image of 299 × 299: Figure 5 of Szegedy et al., 2016.

    Args:
        pool_features: channels of the pooled branch.
        pooling: one of `pooled`.
        compute: how to compute.
    """

    pool_features: int
    pooling: str
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """Join the four branches."""
        unit = functools.partial(Unit, compute=self.compute)
        five = unit(64, (5, 5), name="branch5x5_2")(unit(48, name="branch5x5_1")(x))
        twice = unit(96, (3, 3), name="branch3x3dbl_2")(unit(64, name="branch3x3dbl_1")(x))
        twice = unit(96, (3, 3), name="branch3x3dbl_3")(twice)
        pool = unit(self.pool_features, name="branch_pool")(pooled(x, self.pooling))
        return jnp.concatenate([unit(64, name="branch1x1")(x), five, twice, pool], -1)


class FineToMedium(nn.Module):
    """From 35 × 35 to 17 × 17 pixels.

    Args:
        compute: how to compute.
    """

    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Join the three branches."""
        unit = functools.partial(Unit, compute=self.compute)
        twice = unit(96, (3, 3), name="branch3x3dbl_2")(unit(64, name="branch3x3dbl_1")(x))
        twice = unit(96, (3, 3), 2, padded=False, name="branch3x3dbl_3")(twice)
        return jnp.concatenate(
            [unit(384, (3, 3), 2, padded=False, name="branch3x3")(x), twice, nn.max_pool(x, (3, 3), (2, 2))], -1
        )


class Medium(nn.Module):
    """A block on 17 × 17 pixels with kernels 1 × 7 and 7 × 1: Figure 6 of Szegedy et al., 2016.

    Args:
        inner: channels inside of the two long branches.
        pooling: one of `pooled`.
        compute: how to compute.
    """

    inner: int
    pooling: str
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """Join the four branches."""
        unit = functools.partial(Unit, compute=self.compute)
        wide, tall = (1, 7), (7, 1)
        once = unit(self.inner, wide, name="branch7x7_2")(unit(self.inner, name="branch7x7_1")(x))
        once = unit(192, tall, name="branch7x7_3")(once)
        twice = unit(self.inner, name="branch7x7dbl_1")(x)
        for number, features, size in (
            (2, self.inner, tall),
            (3, self.inner, wide),
            (4, self.inner, tall),
            (5, 192, wide),
        ):
            twice = unit(features, size, name=f"branch7x7dbl_{number}")(twice)
        pool = unit(192, name="branch_pool")(pooled(x, self.pooling))
        return jnp.concatenate([unit(192, name="branch1x1")(x), once, twice, pool], -1)


class MediumToCoarse(nn.Module):
    """From 17 × 17 to 8 × 8 pixels.

    Args:
        compute: how to compute.
    """

    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Join the three branches."""
        unit = functools.partial(Unit, compute=self.compute)
        three = unit(320, (3, 3), 2, padded=False, name="branch3x3_2")(unit(192, name="branch3x3_1")(x))
        seven = unit(192, (1, 7), name="branch7x7x3_2")(unit(192, name="branch7x7x3_1")(x))
        seven = unit(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = unit(192, (3, 3), 2, padded=False, name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, nn.max_pool(x, (3, 3), (2, 2))], -1)


class Coarse(nn.Module):
    """A block on 8 × 8 pixels, whose branches split into 1 × 3 and 3 × 1: Figure 7 of Szegedy et al., 2016.

    Args:
        pooling: one of `pooled`.
        compute: how to compute.
    """

    pooling: str
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """Join the four branches."""
        unit = functools.partial(Unit, compute=self.compute)
        wide, tall = (1, 3), (3, 1)
        once = unit(384, name="branch3x3_1")(x)
        twice = unit(384, (3, 3), name="branch3x3dbl_2")(unit(448, name="branch3x3dbl_1")(x))
        split = [
            unit(384, size, name=name)(y)
            for y, names in ((once, ("branch3x3_2a", "branch3x3_2b")), (twice, ("branch3x3dbl_3a", "branch3x3dbl_3b")))
            for size, name in zip((wide, tall), names, strict=True)
        ]
        pool = unit(192, name="branch_pool")(pooled(x, self.pooling))
        return jnp.concatenate([unit(320, name="branch1x1")(x), *split, pool], -1)


def pooled(x: Float[Array, "b h w c"], pooling: str) -> Float[Array, "b h w c"]:
    """Pool 3 × 3 pixels around each.

    Args:
        x: (b, h, w, c).
        pooling: "average" of the pixels that there are, "padded average" with the zeros around the image among them,
            "maximum".

    Raises:
        ValueError: for another pooling.
    """
    checks.choice("pooling", pooling, ("average", "padded average", "maximum"))
    around = ((1, 1), (1, 1))
    if pooling == "maximum":
        y: Array = nn.max_pool(x, (3, 3), padding=around)
    else:
        y = nn.avg_pool(x, (3, 3), padding=around, count_include_pad=pooling == "padded average")
    return y
