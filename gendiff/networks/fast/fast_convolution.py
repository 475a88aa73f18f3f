"""Convolutions whose gradients are written as channels-last convolutions too (see layers/convolution.py)."""

import functools

import jax
import jax.numpy as jnp

Padding = tuple[tuple[int, int], tuple[int, int]]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def direct_convolution(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None
) -> jax.Array:
    """XLA's own convolution."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def fast_backward_convolution(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None
) -> jax.Array:
    """XLA's own convolution, whose gradients are written as channels-last convolutions too (see convolution.py)."""
    return direct_convolution(x, kernel, stride, padding, precision)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return direct_convolution(x, kernel, stride, padding, precision), (x, kernel)


def _backward(
    stride: int, padding: Padding, precision: str | None, saved: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    # each is read twice, once transposed: there XLA would otherwise compute what it comes from, pixel by pixel
    x, g = jax.lax.optimization_barrier((x, g))
    to_x = _input_gradient(g, kernel, x.shape[1:3], stride, padding, precision)
    return to_x, _kernel_gradient(x, g, kernel.shape[:2], stride, padding, precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _input_gradient(
    g: jax.Array, kernel: jax.Array, extent: tuple[int, ...], stride: int, padding: Padding, precision: str | None
) -> jax.Array:
    """Every pixel gathers from the outputs it went into, so the kernel is turned over and its channels swap roles.

    It is the transpose of the convolution, and so its own gradients are the convolution and the gradient of a kernel.
    XLA would slide a window as large as the picture, which made the gradient of a gradient penalty many times slower.
    """
    across = tuple(zip(extent, kernel.shape[:2], g.shape[1:3], (low for low, _ in padding), strict=True))
    spread = [stride * (after - 1) + 1 for _, _, after, _ in across]  # the extent of g on the grid of x
    back = [(taps - 1 - low, before - wide + low) for (before, taps, _, low), wide in zip(across, spread, strict=True)]
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return jax.lax.conv_general_dilated(
        g, turned, (1, 1), back, (stride, stride), dimension_numbers=LAYOUT, precision=precision
    )


def _input_forward(
    g: jax.Array, kernel: jax.Array, extent: tuple[int, ...], stride: int, padding: Padding, precision: str | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _input_gradient(g, kernel, extent, stride, padding, precision), (g, kernel)


def _input_backward(
    extent: tuple[int, ...],
    stride: int,
    padding: Padding,
    precision: str | None,
    saved: tuple[jax.Array, jax.Array],
    v: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    g, kernel = saved
    v, g = jax.lax.optimization_barrier((v, g))
    to_g = fast_backward_convolution(v, kernel, stride, padding, precision)
    return to_g, _kernel_gradient(v, g, kernel.shape[:2], stride, padding, precision)


_input_gradient.defvjp(_input_forward, _input_backward)


def _kernel_gradient(
    x: jax.Array, g: jax.Array, size: tuple[int, ...], stride: int, padding: Padding, precision: str | None
) -> jax.Array:
    """Compute the gradient of a kernel as a convolution: g slides over x as if it were a kernel.

    The batch are the channels that are summed, one strip of rows after the other. A kernel of 2 × 2 pixels with
    stride 1 takes four products instead.
    """
    if stride == 1 and size == (2, 2):
        return _products_by_pixel(x, g, size, padding, precision)
    across = tuple(zip(x.shape[1:3], size, g.shape[1:3], (low for low, _ in padding), strict=True))
    (before, taps, after, low), (breadth, span, wide, left) = across
    sideways = (left, span - 1 + stride * (wide - 1) + 1 - breadth - left)
    rows = after // _strips(*g.shape[:3])
    strips = []
    for first in range(0, after, rows):
        # the rows of x that these of g meet
        start, end = stride * first - low, stride * (first + rows - 1) - low + taps
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
    return functools.reduce(jnp.add, strips).transpose(1, 2, 0, 3)


def _products_by_pixel(
    x: jax.Array, g: jax.Array, size: tuple[int, ...], padding: Padding, precision: str | None
) -> jax.Array:
    """One product of matrices for each pixel of the kernel, which sums over all pixels of the batch."""
    height, width = g.shape[1:3]
    wide, slopes = jnp.pad(x, ((0, 0), *padding, (0, 0))), g.reshape(-1, g.shape[3])
    pixels = [(row, column) for row in range(size[0]) for column in range(size[1])]
    met = [wide[:, row : row + height, column : column + width].reshape(-1, x.shape[3]) for row, column in pixels]
    products = [jnp.einsum("nc,no->co", each, slopes, precision=precision) for each in met]
    return jnp.stack(products).reshape(*size, x.shape[3], g.shape[3])


_STRIP = 4096
"""Pixels of a batch that the gradient of a kernel sums at once.

It is up to twice as fast on 2 cores as all of 16,384 pixels or more.
"""


def _strips(batch: int, height: int, width: int) -> int:
    """The least number of equal strips of rows, at most 16, of which each has no more pixels than that.

    One for twice as many pixels, where strips gain nothing, and on accelerators.
    """
    if jax.default_backend() != "cpu" or batch * height * width <= 2 * _STRIP:
        return 1
    even = [number for number in range(1, min(height, 16) + 1) if height % number == 0]
    return next((number for number in even if batch * height * width <= _STRIP * number), even[-1])


fast_backward_convolution.defvjp(_forward, _backward)
