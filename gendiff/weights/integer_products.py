"""Products of float activations with integer weights (out, in), whose rows of inputs lie one after the other in memory.

Two forms answer the same:

- converted: the weights become floats inside of the product. Accelerators do that as they read; XLA:CPU writes all of them first.
- by digits: each row of activations is split into two int8 digits, x ≈ (high + low / 254) · max|x| / 127. Both are multiplied with the
  weights in integers, whose sums are exact. What is lost of x is at most max|x| / 64,516, far below the rounding of the weights. On a CPU
  it is the fastest form at every number of rows, for it reads the weights as they are. A row's result does not depend on its neighbours.
"""

import functools

import jax
import jax.numpy as jnp

DIGIT = 127
LOW = 254
"""Steps of the low digit in one of the high digit, which is off by at most half a step."""
LONGEST = 130_000
"""Sums of more products of two int8 numbers may leave int32."""


def by_digits(x: jax.Array, weights: jax.Array) -> bool:
    """Whether that is the form for these activations and weights: int8 on a CPU, in at most 32 bits."""
    integers = weights.dtype in (jnp.int8, jnp.uint8)
    return integers and x.dtype != jnp.float64 and x.shape[-1] <= LONGEST and jax.default_backend() == "cpu"


def digits(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Split rows (r, in) into int8 digits (2, r, in), the high ones first, and their unit (r, 1). NaN and infinity are in the unit."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    unit = jnp.max(jnp.abs(x), -1, keepdims=True) / DIGIT
    scaled = x / jnp.where(unit == 0, jnp.ones_like(unit), unit)
    high = jnp.round(scaled)
    low = jnp.round((scaled - high) * LOW)
    return jnp.stack([high, low]).astype(jnp.int8), unit


@jax.custom_jvp
def digit_product(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Multiply (r, in) by digits with int8 weights (out, in): (r, out) in at least float32. Its derivative is that of `converted`."""
    parts, unit = digits(x)
    sums = jax.lax.dot_general(parts.reshape(-1, x.shape[-1]), weights, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32).reshape(
        2, x.shape[0], -1
    )
    return _joined(sums.astype(unit.dtype)) * unit


@digit_product.defjvp
def _digit_product_tangent(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (x, weights), (dx, _) = primals, tangents  # rounding has no slope of use
    y = digit_product(x, weights)
    return y, converted(dx, weights).astype(y.dtype)


def converted(x: jax.Array, weights: jax.Array, precision: str | None = None) -> jax.Array:
    """Multiply (r, in) with weights (out, in) that become floats of x's dtype: (r, out) in at least float32."""
    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    return jax.lax.dot_general(x, weights.astype(x.dtype), (((1,), (1,)), ((), ())), precision=precision, preferred_element_type=accumulate)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def group_sums(x: jax.Array, parts: tuple[jax.Array, ...], offset: int) -> jax.Array:
    """Sum x · (weight − offset) in each group of inputs, by digits: (r, out, groups) in at least float32, for few rows.

    Args:
        x: (r, in).
        parts: the weights of each group, one part after the other: each (out, groups, size / number of parts), small integers.
        offset: what zero is stored as.
    """
    parts_of_x, unit = digits(x)
    groups, size = parts[0].shape[1:]
    split = parts_of_x.astype(jnp.int32).reshape(2, x.shape[0], 1, groups, len(parts), size)
    sums = functools.reduce(
        jnp.add, (jnp.sum((part.astype(jnp.int32) - offset)[None, None] * split[..., at, :], -1) for at, part in enumerate(parts))
    )
    return _joined(sums.astype(unit.dtype)) * unit[..., None]


@group_sums.defjvp
def _group_sums_tangent(
    offset: int, primals: tuple[jax.Array, tuple[jax.Array, ...]], tangents: tuple[jax.Array, tuple[jax.Array, ...]]
) -> tuple[jax.Array, jax.Array]:
    (x, parts), (dx, _) = primals, tangents
    y = group_sums(x, parts, offset)
    weights = jnp.concatenate(parts, -1).astype(dx.dtype) - offset
    slope = jnp.einsum("rgi,ogi->rog", dx.reshape(dx.shape[0], *weights.shape[1:]), weights)
    return y, slope.astype(y.dtype)


def _joined(sums: jax.Array) -> jax.Array:
    return sums[0] + sums[1] / LOW
