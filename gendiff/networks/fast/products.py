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

    On a CPU, that multiplies every row by every kernel. `product_of_blocks` is taken there.

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


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def product_of_blocks(rows: jax.Array, kernels: jax.Array, sizes: jax.Array, precision: str | None = None) -> jax.Array:
    """Multiply as `product_of_groups` does, in a loop over blocks of rows of one group.

    No kernel is copied, and as many blocks are computed as there are. It has reverse mode of any order, and no forward
    mode: a loop whose length is data has no transpose but the one that stands here.
    """
    blocks = _Blocks(rows.shape[0], sizes)

    def multiply(number: jax.Array, y: jax.Array) -> jax.Array:
        group, start, inside = blocks.at(number)
        product = jax.lax.dot(blocks.rows(padded, start, inside), kernels[group], precision=precision)
        return jax.lax.dynamic_update_slice_in_dim(y, product, start, 0)  # the next group overwrites what is too much

    padded = blocks.padded(rows)
    nothing = jnp.zeros((padded.shape[0], kernels.shape[2]), jnp.result_type(rows, kernels))
    y: jax.Array = jax.lax.fori_loop(0, blocks.count, multiply, nothing)
    return y[: rows.shape[0]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _products_by_group(rows: jax.Array, others: jax.Array, sizes: jax.Array, precision: str | None) -> jax.Array:
    """Multiply the transposed rows (n, d) of each group by its other ones (n, f): (g, d, f)."""
    blocks = _Blocks(rows.shape[0], sizes)

    def add(number: jax.Array, total: jax.Array) -> jax.Array:
        group, start, inside = blocks.at(number)
        pair = blocks.rows(padded[0], start, inside), blocks.rows(padded[1], start, inside)
        product = jax.lax.dot_general(
            *pair, (((0,), (0,)), ((), ())), precision=precision, preferred_element_type=total.dtype
        )
        return total.at[group].add(product)

    padded = blocks.padded(rows), blocks.padded(others)
    dtype = jnp.result_type(rows, others)
    nothing = jnp.zeros((sizes.shape[0], rows.shape[1], others.shape[1]), jnp.promote_types(dtype, jnp.float32))
    total: jax.Array = jax.lax.fori_loop(0, blocks.count, add, nothing)
    return total.astype(dtype)


class _Blocks:
    """Rows 0 … sum(sizes) - 1 in blocks of one size, each of one group; the last block of a group is filled up."""

    def __init__(self, number: int, sizes: jax.Array) -> None:
        self._size = min(max(number // (4 * sizes.shape[0]), 1), 256)
        self._ends, self._sizes = jnp.cumsum(sizes), sizes
        self._blocks = -(-sizes // self._size)
        self._last_blocks = jnp.cumsum(self._blocks)
        self.count = self._last_blocks[-1]

    def at(self, number: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The group of a block, its first row, and which of its rows (size, 1) are of that group."""
        group = jnp.searchsorted(self._last_blocks, number, side="right", method="compare_all")
        before = (self._last_blocks - self._blocks)[group]
        start = (self._ends - self._sizes)[group] + (number - before) * self._size
        return group, start, (start + jnp.arange(self._size) < self._ends[group])[:, None]

    def padded(self, rows: jax.Array) -> jax.Array:
        """With so many rows of 0 behind them that every block lies within."""
        return jnp.pad(rows, ((0, self._size), (0, 0)))

    def rows(self, padded: jax.Array, start: jax.Array, inside: jax.Array) -> jax.Array:
        """Those of a block, 0 where they are of another group."""
        return jnp.where(inside, jax.lax.dynamic_slice_in_dim(padded, start, self._size), 0)


_Grouped = tuple[jax.Array, jax.Array, jax.Array]
"""Two factors, and the sizes of groups."""


def _product_forward(
    rows: jax.Array, kernels: jax.Array, sizes: jax.Array, precision: str | None
) -> tuple[jax.Array, _Grouped]:
    return product_of_blocks(rows, kernels, sizes, precision), (rows, kernels, sizes)


def _product_backward(precision: str | None, factors: _Grouped, slope: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    rows, kernels, sizes = factors
    by_rows = product_of_blocks(slope, kernels.swapaxes(1, 2), sizes, precision)
    by_kernels = _products_by_group(rows, slope, sizes, precision)
    return by_rows.astype(rows.dtype), by_kernels.astype(kernels.dtype), None


def _by_group_forward(
    rows: jax.Array, others: jax.Array, sizes: jax.Array, precision: str | None
) -> tuple[jax.Array, _Grouped]:
    return _products_by_group(rows, others, sizes, precision), (rows, others, sizes)


def _by_group_backward(precision: str | None, factors: _Grouped, slope: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    rows, others, sizes = factors
    by_rows = product_of_blocks(others, slope.swapaxes(1, 2), sizes, precision)
    by_others = product_of_blocks(rows, slope, sizes, precision)
    return by_rows.astype(rows.dtype), by_others.astype(others.dtype), None


product_of_blocks.defvjp(_product_forward, _product_backward)
_products_by_group.defvjp(_by_group_forward, _by_group_backward)


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
