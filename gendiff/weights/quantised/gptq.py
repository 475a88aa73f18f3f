"""GPTQ: weights in 4 bits whose rounding errors are made up for by the weights that are rounded after them.

A layer's output on calibration inputs has the squared error tr((W − Q) H (W − Q)ᵀ). Inputs are rounded one after the
other, and what each loses is spread over those that are left, as the Hessian says. Round to nearest is the case of a
diagonal Hessian.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float, Float64

from gendiff.core import checks
from gendiff.core.types import Params
from gendiff.weights.quantised import quantisation
from gendiff.weights.quantised.packed_kernels import NibbleKernel
from gendiff.weights.quantised.quantisation import Kind, Nibbles, Packing

BLOCK = 128
"""Inputs whose errors reach the inputs behind the block by one product."""


def quantise(
    params: Params,
    hessians: Mapping[str, np.ndarray],
    rules: Sequence[Packing],
    *,
    damping: float = 0.01,
    by_activity: bool = True,
) -> Params:
    """Pack parameters as `quantised.quantise` does, those in 4 bits by GPTQ.

    Also known as: post-training quantisation (PTQ) with calibration.

    Args:
        params: of any network, as arrays.
        hessians: by path, as `calibration.hessians` collects them with the same rules.
        rules: see `Packing`. Kinds other than `int4` round to nearest.
        damping: see `kernel`.
        by_activity: see `kernel`.

    Raises:
        ValueError: for an array in 4 bits without a Hessian; as `kernel` and `quantised.quantise` do.
    """

    def pack_one(path: str, array: Any, kind: Kind, table: bool) -> Any:
        if not isinstance(kind, Nibbles):
            return quantisation.packed_array(array, kind, table=table)
        if path not in hessians:
            raise ValueError(f"there is no Hessian of {path}: collect them with the same rules")
        return kernel(array, hessians[path], kind, table=table, damping=damping, by_activity=by_activity)

    return quantisation.by_rules(params, rules, pack_one)


def kernel(
    array: Any,
    hessian: Float[np.ndarray, "n n"],
    kind: Nibbles,
    *,
    table: bool = False,
    damping: float = 0.01,
    by_activity: bool = True,
    block: int = BLOCK,
) -> NibbleKernel:
    """Pack one array by GPTQ. Its scales are those of `kind`, from the weights before anything is rounded.

    Args:
        array: a kernel (in, out) or a table (v, d).
        hessian: (in, in), of the inputs: the mean of x xᵀ, in any unit.
        kind: of `int4`. A search of scales weighs the error of each input with the diagonal of the Hessian.
        table: whether it is a table, with outputs first.
        damping: what is added to the diagonal, in means of the diagonal, above 0. Inputs that are always 0 are rounded
            to nearest.
        by_activity: round the inputs with the largest mean square first ("act-order"). Else from first to last.
        block: how many inputs are rounded before the others hear of it; rounding of floats apart it changes nothing.

    Raises:
        TypeError: for an array that is not floating, or another kind.
        ValueError: for an array without 2 axes, a Hessian of another shape, or one that is no mean of x xᵀ: not finite,
            not symmetric or not positive; for a damping of 0 or a block below 1.

    References:
        Frantar et al., 2022 (GPTQ), Algorithm 1, Eq. 2 and 3; order by activity is of its published code, with groups
        that stay those of the file (from memory).
    """
    checks.floating("array", array)
    if not isinstance(kind, Nibbles):
        raise TypeError(f"kind = {kind} is none of 4 bits: GPTQ here is for quantised.int4()")
    if array.ndim != 2:
        raise ValueError(f"an array of shape {array.shape} is no matrix: GPTQ is for 2 axes")
    checks.integer("block", block, 1)
    inputs = array.shape[1 if table else 0]
    factor, order = _factor(hessian, inputs, damping, by_activity)
    size = min(block, inputs)
    kernel: NibbleKernel = _packed(array, np.diagonal(hessian), factor, order, kind, table, size)
    return kernel


def output_error(array: Any, packed: NibbleKernel, hessian: Float[np.ndarray, "n n"], *, table: bool = False) -> float:
    """Return the mean squared error of the outputs on the inputs of the Hessian, over their mean square.

    Args:
        array: as of `kernel`.
        packed: what stands for it.
        hessian: as of `kernel`.
        table: as of `kernel`.
    """
    weights = np.asarray(array, np.float64) if table else np.asarray(array, np.float64).T
    dense = np.asarray(packed.dense(jnp.float32), np.float64)
    off = weights - (dense if table else dense.T)
    exact = np.asarray(hessian, np.float64)
    return float(np.sum((off @ exact) * off) / np.sum((weights @ exact) * weights))


def _factor(
    hessian: np.ndarray, inputs: int, damping: float, by_activity: bool
) -> tuple[Float64[np.ndarray, "n n"], np.ndarray]:
    """The upper triangular U with Uᵀ U = (H + damping)⁻¹ of the inputs in their order, and that order."""
    if np.shape(hessian) != (inputs, inputs):
        raise ValueError(f"hessian has shape {np.shape(hessian)}: ({inputs}, {inputs}) is needed, the inputs' number")
    checks.finite("hessian", hessian)
    checks.in_range("damping", damping, 0.0, float("inf"), open_low=True, open_high=True)
    exact = np.asarray(hessian, np.float64)
    diagonal = np.diagonal(exact)
    if np.abs(exact - exact.T).max() > 1e-3 * max(diagonal.max(), 0.0) or diagonal.min() < 0:
        raise ValueError("hessian is no mean of x xᵀ: it is not symmetric, or its diagonal is negative")
    order = np.argsort(-diagonal, kind="stable") if by_activity else np.arange(inputs)
    damped = exact[order][:, order] + (damping * diagonal.mean() or 1.0) * np.eye(inputs)
    try:  # H = R Rᵀ with R upper triangular, by the Cholesky factor of H in reverse
        reverse = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    except np.linalg.LinAlgError as error:
        raise ValueError(f"hessian is no mean of x xᵀ: with damping = {damping:g} it is not positive") from error
    return scipy.linalg.solve_triangular(reverse, np.eye(inputs)), order


@functools.partial(jax.jit, static_argnames=("kind", "table", "block"))
def _packed(
    array: jax.Array,
    importance: jax.Array,
    factor: jax.Array,
    order: jax.Array,
    kind: Nibbles,
    table: bool,
    block: int,
) -> NibbleKernel:
    weights = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    weights = weights if table else weights.T
    inputs = weights.shape[1]
    scale, minimum = kind.grid(weights, jnp.asarray(importance, weights.dtype))
    filling = -inputs % block

    def in_order(rows: jax.Array) -> jax.Array:
        """(out, in) as (in, out) in the order of rounding, filled up to whole blocks."""
        return jnp.pad(rows.T[order], ((0, filling), (0, 0)))

    steps = in_order(kind.by_input(scale, inputs))
    least = None if minimum is None else in_order(kind.by_input(minimum, inputs))
    upper = jnp.pad(jnp.asarray(factor, weights.dtype), ((0, filling), (0, filling)))
    upper = upper + jnp.diag(jnp.pad(jnp.zeros(inputs, weights.dtype), (0, filling), constant_values=1))
    rows = jnp.arange(block)

    def one(j: jax.Array, state: Any, begin: jax.Array, corner: jax.Array) -> Any:
        """Round input j of the block (block, out), and spread its error over those behind it."""
        values, nibbles, errors = state
        scales = steps[begin + j]
        minima = None if least is None else least[begin + j]
        nibble = kind.rounded(values[j], scales, minima)
        back = (nibble - 8) * scales if minima is None else nibble * scales + minima
        error = (values[j] - back) / corner[j, j]
        values = values - jnp.where(rows > j, corner[j], 0)[:, None] * error[None]
        return values, nibbles.at[j].set(nibble), errors.at[j].set(error)

    def one_block(number: jax.Array, state: Any) -> Any:
        values, nibbles = state
        begin = number * block
        mine = jax.lax.dynamic_slice_in_dim(values, begin, block)
        across = jax.lax.dynamic_slice_in_dim(upper, begin, block)
        corner = jax.lax.dynamic_slice_in_dim(across, begin, block, 1)
        step = functools.partial(one, begin=begin, corner=corner)
        _, chosen, errors = jax.lax.fori_loop(0, block, step, (mine, jnp.zeros_like(mine), jnp.zeros_like(mine)))
        behind = jnp.where(jnp.arange(len(values)) >= begin + block, across, 0)
        values = values - jnp.matmul(behind.T, errors, precision="highest")
        return values, jax.lax.dynamic_update_slice_in_dim(nibbles, chosen, begin, 0)

    start = in_order(weights)
    _, nibbles = jax.lax.fori_loop(0, len(start) // block, one_block, (start, jnp.zeros_like(start)))
    in_place = jnp.zeros((inputs, len(weights)), weights.dtype).at[order].set(nibbles[:inputs])
    return kind.kernel(in_place.T, scale, minimum, tuple(array.shape), table)
