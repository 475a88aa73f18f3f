"""Convolutions of channels-last images, by two equal implementations.

direct: XLA's own. The default; both kinds of differentiation work.
fast_backward: the gradients are written as channels-last convolutions too. XLA:CPU moves a convolution to its fast layout only outside
of loops, so inside `scan` or `fori_loop` (gradient accumulation, several steps a call) training is 3 to 25 times faster with this one.
On a CPU it sums the gradient of a kernel over strips of rows, which is faster outside of loops too where a batch has many pixels.
It has no forward mode: `jax.jvp` and `jax.linearize` raise.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.networks import initializers
from gendiff.networks.layers import Compute

Padding = tuple[tuple[int, int], tuple[int, int]]
LAYOUT = ("NHWC", "HWIO", "NHWC")


class Convolution(nn.Module):
    """A square convolution with bias and padding size // 2: stride 1 keeps the size, 2 halves an even one. `zero` starts it at 0.

    padding: zeros above and to the left, if other than size // 2; what is left of size − 1 then goes below and to the right.
    """

    features: int
    size: int = 3
    stride: int = 1
    zero: bool = False
    compute: Compute = Compute()
    padding: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        start = initializers.zeros if self.zero else initializers.kernel()
        kernel = self.param("kernel", start, (self.size, self.size, x.shape[-1], self.features))
        bias = self.param("bias", initializers.zeros, (self.features,))
        dtype = self.compute.dtype
        y = convolve(
            x.astype(dtype),
            kernel.astype(dtype),
            self.stride,
            self.padding,
            implementation=self.compute.convolution,
            precision=self.compute.precision,
        )
        return y + bias.astype(dtype).reshape(1, 1, 1, -1)


def convolve(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "u v c d"],
    stride: int = 1,
    padding: int | None = None,
    *,
    implementation: str = "direct",
    precision: str | None = None,
) -> Float[Array, "b h2 w2 d"]:
    """Cross-correlation of images with a kernel of odd size, zero-padded by size // 2 (or `padding` before and the rest of size − 1 after).

    Raises ValueError for an unknown implementation, or a padding outside of 0 … size − 1.
    """
    checks.choice("convolution", implementation, IMPLEMENTATIONS)
    if padding is not None:
        checks.integer("padding", padding, 0, min(kernel.shape[:2]) - 1)
    above, left = (size // 2 if padding is None else padding for size in kernel.shape[:2])
    below, right = kernel.shape[0] - 1 - above, kernel.shape[1] - 1 - left
    return IMPLEMENTATIONS[implementation](x, kernel, stride, ((above, below), (left, right)), precision)


def double(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Each pixel repeated to 2 × 2."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def halve(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """The mean of each 2 × 2 pixels."""
    b, h, w, c = x.shape
    return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))


def _direct(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT, precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _fast_backward(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None) -> jax.Array:
    return _direct(x, kernel, stride, padding, precision)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _direct(x, kernel, stride, padding, precision), (x, kernel)


def _backward(
    stride: int, padding: Padding, precision: str | None, saved: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    # each is read twice, once transposed: there XLA would otherwise compute what it comes from, pixel by pixel
    x, g = jax.lax.optimization_barrier((x, g))
    across = tuple(zip(x.shape[1:3], kernel.shape[:2], g.shape[1:3], (low for low, _ in padding), strict=True))
    spread = [stride * (after - 1) + 1 for _, _, after, _ in across]  # the extent of g on the grid of x
    # input: every pixel gathers from the outputs it went into, so the kernel is turned over and its channels swap roles
    back = [(taps - 1 - low, before - wide + low) for (before, taps, _, low), wide in zip(across, spread, strict=True)]
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    to_x = jax.lax.conv_general_dilated(g, turned, (1, 1), back, (stride, stride), dimension_numbers=LAYOUT, precision=precision)
    # kernel: g slides over x as if it were a kernel, with the batch as the channels that are summed, a strip of rows after the other
    (before, taps, after, low), (breadth, span, _, left) = across
    sideways = (left, span - 1 + spread[1] - breadth - left)
    rows = after // _strips(*g.shape[:3])
    strips = []
    for first in range(0, after, rows):
        start, end = stride * first - low, stride * (first + rows - 1) - low + taps  # the rows of x that these of g meet
        strips.append(
            jax.lax.conv_general_dilated(
                x[:, max(start, 0) : min(end, before)].transpose(3, 1, 2, 0),
                g[:, first : first + rows].transpose(1, 2, 0, 3),
                (1, 1),
                ((max(-start, 0), max(end - before, 0)), sideways),
                rhs_dilation=(stride, stride),
                dimension_numbers=LAYOUT,
                precision=precision,
            )
        )
    return to_x, functools.reduce(jnp.add, strips).transpose(1, 2, 0, 3)


_STRIP = 4096
"""Pixels of a batch that the gradient of a kernel sums at once: up to twice as fast on 2 cores as all of 16,384 or more."""


def _strips(batch: int, height: int, width: int) -> int:
    """The least number of equal strips of rows, at most 16, of which each has no more pixels than that.

    One for twice as many pixels, where strips gain nothing, and on accelerators.
    """
    if jax.default_backend() != "cpu" or batch * height * width <= 2 * _STRIP:
        return 1
    even = [number for number in range(1, min(height, 16) + 1) if height % number == 0]
    return next((number for number in even if batch * height * width <= _STRIP * number), even[-1])


_fast_backward.defvjp(_forward, _backward)


IMPLEMENTATIONS: dict[str, Callable[..., jax.Array]] = {"direct": _direct, "fast_backward": _fast_backward}
