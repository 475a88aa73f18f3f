"""What only makes compiled networks faster or smaller. Every function here equals its plain formula, and tests compare the two.

Layers call these by name, so that each of them reads like its formula. Three kinds of means: barriers, which keep XLA from computing one
thing many times or from joining what it joins wrongly; recomputation, which keeps little for the backward pass; and derivative rules.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from gendiff.core import checks
from gendiff.core.packed import PackedKernel

Padding = tuple[tuple[int, int], tuple[int, int]]
LAYOUT = ("NHWC", "HWIO", "NHWC")

_MOMENTS = "moments"

# --- recomputation ---


def recomputed(function: Callable[..., Any], static: tuple[int, ...] = ()) -> Callable[..., Any]:
    """Return function(module, *arrays), of whose inside the backward pass keeps the moments of norms and computes the rest again.

    For a norm or an activation and the layer that follows, which are large to keep and cheap to compute.

    Args:
        function: of a module and arrays.
        static: which arguments are no arrays but names or settings, the module being 0.
    """
    policy = jax.checkpoint_policies.save_only_these_names(_MOMENTS)
    return nn.remat(function, static_argnums=static, policy=policy)  # type: ignore[return-value]


def remat(module: Any, wanted: bool | str) -> Any:
    """Return the class of a module, of whose inside the backward pass keeps what is `wanted` and computes the rest again.

    Args:
        module: a class.
        wanted: False keeps all, True nothing, "products" what linear layers and convolutions give.

    Raises:
        ValueError: for any other text.
    """
    if isinstance(wanted, str):
        checks.choice("remat", wanted, ("products",))
        return nn.remat(module, policy=_is_product)
    return nn.remat(module) if wanted else module


def _is_product(primitive: Any, *_: Any, **parameters: Any) -> bool:
    if primitive is jax.lax.dot_general_p:
        return not any(parameters["dimension_numbers"][1])  # those of attention are as many as pairs of tokens
    return primitive is jax.lax.conv_general_dilated_p


# --- barriers ---


def computed_once(*values: Any) -> tuple[Any, ...]:
    """Return the values themselves, arrays or packed kernels. Inside of a loop over pixels, XLA would compute them again for each pixel.

    A layer that shows its input and its kernel here touches the kernel only when the input is there. Devices that share kernels would
    otherwise gather those of all layers at the start, and hold them until their turn comes.
    """
    return jax.lax.optimization_barrier(values)


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """GELU by its tanh formula."""
    return nn.gelu(x, approximate=True)


@gelu.defjvp
def _gelu_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # without the barrier jaxlib 0.12 joins a linear layer and its GELU to one call of oneDNN, and takes the GELU's value for its argument
    return jax.jvp(functools.partial(nn.gelu, approximate=True), (jax.lax.optimization_barrier(primals[0]),), tangents)


@jax.custom_jvp
def exact_gelu(x: jax.Array) -> jax.Array:
    """GELU by its definition: x times the normal distribution function of x."""
    return nn.gelu(x, approximate=False)


@exact_gelu.defjvp
def _exact_gelu_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # with a barrier for the reason above: oneDNN knows this form too
    return jax.jvp(functools.partial(nn.gelu, approximate=False), (jax.lax.optimization_barrier(primals[0]),), tangents)


@jax.custom_jvp
def silu(x: jax.Array) -> jax.Array:
    """SiLU: x / (1 + exp(−x))."""
    return nn.silu(x)


@silu.defjvp
def _silu_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # with a barrier for the reason above: oneDNN knows this form too
    return jax.jvp(nn.silu, (jax.lax.optimization_barrier(primals[0]),), tangents)


# --- linear layers and norms ---


def product_of_rows(x: jax.Array, kernel: jax.Array | PackedKernel, precision: str | None = None) -> jax.Array:
    """Multiply (…, in) by (in, out).

    It is a product of two matrices: with more axes XLA:CPU would transpose the factors of the kernel's gradient in memory.
    """
    if isinstance(kernel, PackedKernel):
        return kernel.product(x, precision)
    y = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), precision=precision)
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


def product_with_rows(x: jax.Array, table: jax.Array | PackedKernel, precision: str | None = None) -> jax.Array:
    """Multiply (…, d) by each row of (v, d), accumulated and answered in at least float32: the last layer that shares a table of tokens."""
    if isinstance(table, PackedKernel):
        return table.product_with_rows(x, precision)
    y = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]),
        table,
        (((1,), (1,)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    return y.reshape(*x.shape[:-1], table.shape[0])


def product_of_groups(rows: jax.Array, kernels: jax.Array, sizes: jax.Array, precision: str | None = None) -> jax.Array:
    """Multiply the first sizes[0] rows by the first kernel, the next sizes[1] by the second one, and so on: `jax.lax.ragged_dot`.

    On a CPU, that multiplies every row by every kernel. There rows are laid out in blocks, each of one group, instead.

    Args:
        rows: (n, d), sorted by group.
        kernels: (g, d, f).
        sizes: (g,) integers that sum to at most n.
        precision: of the product.

    Returns:
        (n, f), 0 in the rows behind the last group.
    """

    def ragged(rows: jax.Array, kernels: jax.Array, sizes: jax.Array) -> jax.Array:
        y = jax.lax.ragged_dot(rows, kernels, sizes, precision=precision)
        return jnp.where((jnp.arange(rows.shape[0]) < jnp.sum(sizes))[:, None], y, 0)

    def blocked(rows: jax.Array, kernels: jax.Array, sizes: jax.Array) -> jax.Array:
        return product_of_blocks(rows, kernels, sizes, precision)

    return jax.lax.platform_dependent(rows, kernels, sizes, cpu=blocked, default=ragged)


def product_of_blocks(rows: jax.Array, kernels: jax.Array, sizes: jax.Array, precision: str | None = None) -> jax.Array:
    """Multiply as `product_of_groups` does, a block of rows of one group at a time; the last block of a group is filled up with 0."""
    number, groups = rows.shape[0], kernels.shape[0]
    size = min(max(number // (4 * groups), 1), 64)
    ends = jnp.cumsum(sizes)
    blocks = -(-sizes // size)
    last_blocks = jnp.cumsum(blocks)
    block = jnp.arange(min(number, (number + groups * (size - 1)) // size))  # as many as there can be
    group = jnp.minimum(jnp.searchsorted(last_blocks, block, side="right", method="compare_all"), groups - 1)
    row = ((ends - sizes)[group] + (block - (last_blocks - blocks)[group]) * size)[:, None] + jnp.arange(size)[None]
    inside = row < ends[group][:, None]
    laid_out = jnp.where(inside[..., None], rows[jnp.where(inside, row, 0)], 0)
    y = jax.lax.dot_general(laid_out, kernels[group], (((2,), (1,)), ((0,), (0,))), precision=precision)

    every = jnp.arange(number)
    owner = jnp.searchsorted(ends, every, side="right", method="compare_all")
    known = jnp.minimum(owner, groups - 1)
    place = (last_blocks - blocks)[known] * size + every - (ends - sizes)[known]
    return jnp.where((owner < groups)[:, None], y.reshape(-1, y.shape[-1])[place], 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def moments(groups: int | None, epsilon: float, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and 1 / sqrt(variance + epsilon) of what is normalised together, in a shape that broadcasts over x.

    Args:
        groups: how many groups of channels are normalised, each over space and its channels; None normalises the last axis.
        epsilon: what is added to the variance.
        x: (b, …, c).
    """
    mean = _average(groups, x)
    inverse = jax.lax.rsqrt(_average(groups, jnp.square(x - mean)) + epsilon)
    return checkpoint_name(mean, _MOMENTS), checkpoint_name(inverse, _MOMENTS)


@moments.defjvp
def _moments_tangent(
    groups: int | None, epsilon: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    # the derivative of the variance by the mean is 0, so its reduction over all of x, which JAX would compute, is left out
    (x,), (dx,) = primals, tangents
    mean, inverse = moments(groups, epsilon, x)
    return (mean, inverse), (_average(groups, dx), -(inverse**3) * _average(groups, (x - mean) * dx))


def _average(groups: int | None, x: jax.Array) -> jax.Array:
    if groups is None:
        return jnp.mean(x, -1, keepdims=True)
    space, channels = tuple(range(1, x.ndim - 1)), x.shape[-1]
    # space first: that reduction runs along contiguous channels
    mean = jnp.mean(jnp.mean(x, space).reshape(-1, groups, channels // groups), -1)
    return jnp.repeat(mean, channels // groups, -1).reshape(x.shape[:1] + (1,) * len(space) + (channels,))


# --- convolutions ---


def direct_convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None) -> jax.Array:
    """XLA's own convolution."""
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT, precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def fast_backward_convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, precision: str | None) -> jax.Array:
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

    It is the transpose of the convolution, and so its own gradients are the convolution and the gradient of a kernel. XLA would slide a
    window as large as the picture, which made the gradient of a gradient penalty many times slower.
    """
    across = tuple(zip(extent, kernel.shape[:2], g.shape[1:3], (low for low, _ in padding), strict=True))
    spread = [stride * (after - 1) + 1 for _, _, after, _ in across]  # the extent of g on the grid of x
    back = [(taps - 1 - low, before - wide + low) for (before, taps, _, low), wide in zip(across, spread, strict=True)]
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return jax.lax.conv_general_dilated(g, turned, (1, 1), back, (stride, stride), dimension_numbers=LAYOUT, precision=precision)


def _input_forward(
    g: jax.Array, kernel: jax.Array, extent: tuple[int, ...], stride: int, padding: Padding, precision: str | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _input_gradient(g, kernel, extent, stride, padding, precision), (g, kernel)


def _input_backward(
    extent: tuple[int, ...], stride: int, padding: Padding, precision: str | None, saved: tuple[jax.Array, jax.Array], v: jax.Array
) -> tuple[jax.Array, jax.Array]:
    g, kernel = saved
    v, g = jax.lax.optimization_barrier((v, g))
    to_g = fast_backward_convolution(v, kernel, stride, padding, precision)
    return to_g, _kernel_gradient(v, g, kernel.shape[:2], stride, padding, precision)


_input_gradient.defvjp(_input_forward, _input_backward)


def _kernel_gradient(x: jax.Array, g: jax.Array, size: tuple[int, ...], stride: int, padding: Padding, precision: str | None) -> jax.Array:
    """Let g slide over x as if it were a kernel, with the batch as the channels that are summed, a strip of rows after the other."""
    across = tuple(zip(x.shape[1:3], size, g.shape[1:3], (low for low, _ in padding), strict=True))
    (before, taps, after, low), (breadth, span, wide, left) = across
    sideways = (left, span - 1 + stride * (wide - 1) + 1 - breadth - left)
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
    return functools.reduce(jnp.add, strips).transpose(1, 2, 0, 3)


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


fast_backward_convolution.defvjp(_forward, _backward)
