"""Products of float activations with integer weights (out, in), whose rows of inputs lie one after the other in memory.

Weights with scales of groups of inputs lie the other way round, outputs side by side (see `group_sums`). Two forms
answer the same:

- converted: the weights become floats inside of the product. Accelerators do that as they read; XLA:CPU writes all of
  them first.
- by digits: each row of activations is split into two int8 digits, x ≈ (high + low / 254) · max|x| / 127. Both are
  multiplied with the weights in integers, whose sums are exact. What is lost of x is at most max|x| / 64,516, far below
  the rounding of the weights. On a CPU it is the fastest form at every number of rows, for it reads the weights as they
  are. A row's result does not depend on its neighbours.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.core.types import PyTree

DIGIT = 127
LOW = 254
"""Steps of the low digit in one of the high digit, which is off by at most half a step."""
LONGEST = 130_000
"""Sums of more products of two int8 numbers may leave int32."""
TOGETHER = 16
"""How many products of integers a program writes out and sums as integers; the sum of 16 stays far inside int32."""


def by_digits(x: jax.Array, weights: jax.Array) -> bool:
    """Whether to multiply these activations and weights by digits: int8 on a CPU, in at most 32 bits."""
    integers = weights.dtype in (jnp.int8, jnp.uint8)
    return integers and x.dtype != jnp.float64 and x.shape[-1] <= LONGEST and jax.default_backend() == "cpu"


def digits(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Split rows (r, in) into int8 digits (2, r, in), the high ones first, and their unit (r, 1).

    NaN and infinity are in the unit.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    unit = jnp.max(jnp.abs(x), -1, keepdims=True) / DIGIT
    scaled = x / jnp.where(unit == 0, jnp.ones_like(unit), unit)
    high = jnp.round(scaled)
    low = jnp.round((scaled - high) * LOW)
    return jnp.stack([high, low]).astype(jnp.int8), unit


@jax.custom_jvp
def digit_product(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Multiply (r, in) by digits with int8 weights (out, in): (r, out) in at least float32.

    Its derivative is that of `converted`.
    """
    parts, unit = digits(x)
    sums = jax.lax.dot_general(
        parts.reshape(-1, x.shape[-1]), weights, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32
    ).reshape(2, x.shape[0], -1)
    return _joined(sums.astype(unit.dtype)) * unit


@digit_product.defjvp
def _digit_product_tangent(
    primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    (x, weights), (dx, _) = primals, tangents  # rounding has no slope of use
    y = digit_product(x, weights)
    return y, _product(dx, weights, None).astype(y.dtype)


def converted(x: jax.Array, weights: jax.Array, precision: str | None = None) -> jax.Array:
    """Multiply (r, in) with weights (out, in) that become floats of x's dtype: (r, out) in at least float32."""
    return _product(x, after(x, weights), precision)


def after(x: jax.Array, weights: PyTree) -> PyTree:
    """The weights, when x is there. The slope of x does not pass here.

    Without it those of all layers are unpacked at the start, before a loop over steps, and stay so.
    """
    waiting: PyTree = jax.lax.optimization_barrier((jax.lax.stop_gradient(x), weights))[1]
    return waiting


def _product(x: jax.Array, weights: jax.Array, precision: str | None) -> jax.Array:
    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    return jax.lax.dot_general(
        x, weights.astype(x.dtype), (((1,), (1,)), ((), ())), precision=precision, preferred_element_type=accumulate
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def group_sums(
    parts: Callable[[jax.Array], tuple[jax.Array, ...]], offset: int, x: jax.Array, values: jax.Array
) -> jax.Array:
    """Sum x · (weight − offset) in each group of inputs, by digits: (groups, out) in at least float32, for one row.

    Both digits are one integer here. Inputs are taken one after the other, each with all groups and outputs at once,
    which lie side by side in memory: sums along inputs would not be vectorised on a CPU.

    Args:
        parts: from some of the values to the integers, of at most 8 bits, that each of them holds.
        offset: what zero is stored as.
        x: (1, in).
        values: (groups, n, out). The first parts of all n are the first inputs of a group, and so on.
    """
    (high, low), unit = digits(x)
    groups, size, outputs = values.shape
    integers = (high.astype(jnp.int32) * LOW + low).reshape(groups, -1, size)
    together = next(number for number in range(min(size, TOGETHER), 0, -1) if size % number == 0)
    rows = values.reshape(-1, together, outputs)
    sums = jnp.zeros((rows.shape[0], outputs), jnp.int32)
    for position in range(together):
        for at, part in enumerate(parts(rows[:, position])):
            sums = sums + part.astype(jnp.int32) * integers[:, at].reshape(-1, together)[:, position, None]
    summed = jnp.sum(sums.astype(unit.dtype).reshape(groups, -1, outputs), 1)
    if offset:
        summed = summed - offset * jnp.sum(integers, (1, 2))[:, None].astype(unit.dtype)
    return summed / LOW * unit


@group_sums.defjvp
def _group_sums_tangent(
    parts: Callable[[jax.Array], tuple[jax.Array, ...]],
    offset: int,
    primals: tuple[jax.Array, jax.Array],
    tangents: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    (x, values), (dx, _) = primals, tangents
    y = group_sums(parts, offset, x, values)
    weights = jnp.concatenate(parts(values), 1).astype(dx.dtype) - offset
    slope = jnp.einsum("gi,gio->go", dx.reshape(weights.shape[:2]), weights)
    return y, slope.astype(y.dtype)


def _joined(sums: jax.Array) -> jax.Array:
    return sums[0] + sums[1] / LOW
