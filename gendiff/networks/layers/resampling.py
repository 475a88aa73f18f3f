"""Changes of size by 2: convolutions of 4 × 4 pixels and stride 2, written with stride 1, and bilinear ones.

A kernel of 4 × 4 pixels with stride 2 meets each of the four pixels of a square by 2 × 2 of its weights. So it is a
kernel of 2 × 2 squares with stride 1. Then no gradient of it, of whatever order, has zeros between its pixels, which a
CPU would multiply.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import packed
from gendiff.networks.layers import initializers
from gendiff.networks.layers.compute import Compute, parameter
from gendiff.networks.layers.convolution import convolve


def space_to_depth(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
    """Return each square of 2 × 2 pixels as one pixel, the channels of each of the four together.

    Height and width are even.
    """
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def depth_to_space(x: Float[Array, "b h w d"]) -> Float[Array, "b h2 w2 c"]:
    """Undo `space_to_depth`."""
    b, h, w, d = x.shape
    return x.reshape(b, h, w, 2, 2, d // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, d // 4)


class HalvingConvolution(nn.Module):
    """A convolution of 4 × 4 pixels with stride 2, one zero around, and bias.

    Its kernel is (2, 2, 4 c, features): entry [i, j, (p, q, k)] is entry [2 i + p, 2 j + q, k] of the kernel of 4 × 4.

    Args:
        features: channels of the output.
        compute: how to compute.
        gain: of the spread that the kernel starts with.
    """

    features: int
    compute: Compute = Compute()
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Halve the size, which is even."""
        squares = space_to_depth(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
        return _convolved(self, squares, self.features, (0, 0), self.features)


class DoublingConvolution(nn.Module):
    """The transpose of a convolution of 4 × 4 pixels with stride 2 and one zero around, with bias.

    Its kernel is (2, 2, c, 4 features): entry [i, j, :, (p, q, k)] is entry [2 (1 − i) + p, 2 (1 − j) + q, :, k] of the
    kernel of 4 × 4 that each pixel is multiplied by.

    Args:
        features: channels of the output.
        compute: how to compute.
        gain: of the spread that the kernel starts with.

    References:
        Shi et al., 2016, for the convolution before `depth_to_space` (from memory).
    """

    features: int
    compute: Compute = Compute()
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Double the size."""
        return _convolved(self, x, 4 * self.features, (1, 1), self.features)


def _convolved(
    module: HalvingConvolution | DoublingConvolution,
    x: jax.Array,
    outputs: int,
    padding: tuple[int, int],
    features: int,
) -> jax.Array:
    """A convolution by a learned kernel of 2 × 2, unfolded where it gives four pixels, then the bias."""
    dtype = module.compute.dtype
    kernel = parameter(module, "kernel", initializers.kernel(module.gain), (2, 2, x.shape[-1], outputs))
    bias: jax.Array = parameter(module, "bias", initializers.zeros, (features,))
    kernel, compute = packed.as_array(kernel, dtype), module.compute
    y = convolve(x.astype(dtype), kernel, 1, padding, implementation=compute.convolution, precision=compute.precision)
    if outputs != features:
        y = depth_to_space(y)[:, 1:-1, 1:-1]
    return y + bias.astype(dtype).reshape(1, 1, 1, -1)


def bilinear_double(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Double the size by bilinear interpolation: along each axis, new pixels are ¾ of the nearest and ¼ of the next.

    Zeros lie around.
    """
    for axis in (1, 2):
        before, after = _beside(x, axis)
        x = _interleaved(0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after, axis)
    return x


def bilinear_halve(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Halve the size, which is even, with the weights 1, 3, 3, 1 over 8 along each axis.

    It is a quarter of the transpose of `bilinear_double`.
    """
    for axis in (1, 2):
        pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        even, odd = (jax.lax.index_in_dim(pairs, position, axis + 1, keepdims=False) for position in (0, 1))
        x = 0.375 * (even + odd) + 0.125 * (_beside(odd, axis)[0] + _beside(even, axis)[1])
    return x


def _beside(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """For each place along the axis the one before and the one after, 0 beyond the ends."""
    size = x.shape[axis]
    around = jnp.pad(x, [(1, 1) if each == axis else (0, 0) for each in range(x.ndim)])
    return jax.lax.slice_in_dim(around, 0, size, axis=axis), jax.lax.slice_in_dim(around, 2, size + 2, axis=axis)


def _interleaved(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    return jnp.stack([even, odd], axis + 1).reshape(*even.shape[:axis], 2 * even.shape[axis], *even.shape[axis + 1 :])
