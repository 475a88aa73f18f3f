"""Arrays (b, s) of which some entries count: the steps at which a policy acted.

What stands at the others is never read, NaN included.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike

AVERAGES = ("steps", "samples", "length")


def acted(mask: Shaped[ArrayLike, "b s"], **values: ArrayLike) -> Bool[Array, "b s"]:
    """Tell where the policy acted, after a check that everything is about the same steps.

    Args:
        mask: (b, s) not 0 where it acted, as bool or number.
        **values: (b, s) each, by the name that the message shows.

    Raises:
        ValueError: for a mask that is not (b, s), and for values of another shape, which would broadcast.
    """
    if mask.ndim != 2:
        raise ValueError(f"mask has shape {mask.shape}: (samples, steps) is needed")
    for name, value in values.items():
        checks.same_shape("mask", mask, name, value)
    return jnp.asarray(mask) != 0


def zeroed(values: ArrayLike, mask: Shaped[ArrayLike, "b s"]) -> Float[Array, "b s"]:
    """Return the values (b, s) as floats of at least 32 bits, and 0 without a gradient where the mask is 0."""
    wide = jnp.asarray(values)
    dtype = arrays.at_least_float32(wide.dtype) if jnp.issubdtype(wide.dtype, jnp.floating) else jnp.float32
    return jnp.where(jnp.asarray(mask) != 0, wide, 0).astype(dtype)


def total(values: ArrayLike, mask: Shaped[ArrayLike, "b s"]) -> Float[Array, "b"]:
    """Sum each sample's values (b, s) over its steps."""
    return jnp.sum(zeroed(values, mask), 1)


def mean(values: ArrayLike, mask: Shaped[ArrayLike, "b s"], average: str = "steps") -> Float[Array, ""]:
    """Average over the steps at which the policy acted; 0 without any.

    Args:
        values: (b, s).
        mask: (b, s) not 0 where a step counts.
        average: "steps": over all steps of the batch, so that long samples weigh more. "samples": over the steps of
            each sample, then over the samples that have any. "length": the sum over b · s, padding included, so that a
            step weighs the same in every batch.

    Raises:
        ValueError: for another average.
    """
    checks.choice("average", average, AVERAGES)
    sums = total(values, mask)
    counts = jnp.sum(jnp.asarray(mask) != 0, 1).astype(sums.dtype)
    if average == "steps":
        return arrays.safe_divide(jnp.sum(sums), jnp.sum(counts))
    if average == "length":
        return jnp.sum(sums) / jnp.shape(mask)[0] / jnp.shape(mask)[1]
    return arrays.safe_divide(jnp.sum(arrays.safe_divide(sums, counts)), jnp.sum((counts > 0).astype(sums.dtype)))
