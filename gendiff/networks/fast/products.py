"""Products of linear layers and moments of norms, with derivative rules of their own."""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from gendiff.core.packed import PackedKernel
from gendiff.networks.fast.recomputation import MOMENTS


def product_of_rows(x: jax.Array, kernel: jax.Array | PackedKernel, precision: str | None = None) -> jax.Array:
    """Multiply (…, in) by (in, out).

    It is a product of two matrices: with more axes XLA:CPU would transpose the factors of the kernel's gradient in
    memory.
    """
    if isinstance(kernel, PackedKernel):
        return kernel.product(x, precision)
    y = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), precision=precision)
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


def product_with_rows(x: jax.Array, table: jax.Array | PackedKernel, precision: str | None = None) -> jax.Array:
    """Multiply (…, d) by each row of (v, d), with sums and result in at least float32.

    It is the last layer of a network that shares its table of tokens.
    """
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
    """Multiply the first sizes[0] rows by the first kernel, the next sizes[1] by the second one, and so on.

    This is `jax.lax.ragged_dot`.

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

    y: jax.Array = jax.lax.platform_dependent(rows, kernels, sizes, cpu=blocked, default=ragged)
    return y


def product_of_blocks(rows: jax.Array, kernels: jax.Array, sizes: jax.Array, precision: str | None = None) -> jax.Array:
    """Multiply as `product_of_groups` does, a block of rows of one group at a time.

    The last block of a group is filled up with 0.
    """
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

    row_number = jnp.arange(number)
    owner = jnp.searchsorted(ends, row_number, side="right", method="compare_all")
    known = jnp.minimum(owner, groups - 1)
    position = (last_blocks - blocks)[known] * size + row_number - (ends - sizes)[known]
    return jnp.where((owner < groups)[:, None], y.reshape(-1, y.shape[-1])[position], 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def moments(groups: int | None, epsilon: float, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and 1 / sqrt(variance + epsilon) of what is normalised together, in a shape that broadcasts over x.

    Args:
        groups: how many groups of channels are normalised, each over space and its channels; None normalises the last
            axis.
        epsilon: what is added to the variance.
        x: (b, …, c).
    """
    mean = _average(groups, x)
    inverse = jax.lax.rsqrt(_average(groups, jnp.square(x - mean)) + epsilon)
    return checkpoint_name(mean, MOMENTS), checkpoint_name(inverse, MOMENTS)


@moments.defjvp
def _moments_tangent(
    groups: int | None, epsilon: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    # the derivative of the variance by the mean is 0, so its reduction over all of x, which JAX would compute, is left
    # out
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
