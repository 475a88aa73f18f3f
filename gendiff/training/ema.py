"""Exponential moving average (EMA) of parameters, also known as EMA of weights, in float32 or wider.

A step is average <- average + (1 - decay) (params - average).

A bfloat16 average at decay 0.999 never moves: the change is smaller than its rounding. So an average is never narrower
than float32.
"""

import jax
import jax.numpy as jnp

from gendiff.core import arrays, checks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Count, DType, Numeric, Params, Scalar


def check_decay(decay: Scalar) -> None:
    """Refuse a decay out of range.

    Raises:
        ConfigError: unless a concrete decay lies in [0, 1).
    """
    try:
        checks.in_range("decay", decay, 0.0, 1.0, open_high=True)
    except ValueError as error:
        raise ConfigError(f"{error}: an EMA decay of 1 never moves, and a usual one is 0.999") from None


def start(params: Params) -> Params:
    """Return an average that begins at params: a copy, floating leaves in float32 or wider."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=_wide(leaf), copy=True), params)


def update(average: Params, params: Params, decay: Scalar, *, count: Count | None = None) -> Params:
    """Return the average after one more step; leaves that are no floats are taken from params.

    Args:
        average: what `start` or `update` returned.
        params: the parameters after the step.
        decay: in [0, 1).
        count: () number of updates made before. When given, the decay is min(decay, (1 + count) / (10 + count)): the
            average then covers the last ninth of the steps until the decay is reached, and its start weighs 1e-5 after
            10 steps.

    Raises:
        ConfigError: for a decay out of range.
        TypeError: for an average narrower than float32.
    """
    check_decay(decay)
    if count is not None:
        checks.integer("count", count)
    return move(average, params, _share(decay, count))


def move(average: Params, params: Params, share: Scalar) -> Params:
    """Return average + share · (params - average); leaves that are no floats are taken from params.

    Args:
        average: what `start`, `update` or `move` returned.
        params: the parameters after the step.
        share: () in [0, 1], the weight of the parameters.

    Raises:
        TypeError: for an average narrower than float32.
    """

    def one(old: jax.Array, new: Numeric) -> jax.Array:
        if not jnp.issubdtype(old.dtype, jnp.inexact):
            return jnp.asarray(new)
        if old.dtype != _wide(old):
            raise TypeError(
                f"an average in {old.dtype} is too coarse to follow params: make it with ema.start, which keeps float32"
            )
        return old + jnp.asarray(share, old.dtype) * (jnp.asarray(new, old.dtype) - old)

    return jax.tree.map(one, average, params)


def _share(decay: Scalar, count: Count | None) -> float | jax.Array:
    # the share of the new params, 1 - decay: as a difference of float32 numbers it would lose four digits at 0.9999
    share = 1.0 - float(decay) if arrays.is_concrete(decay) else 1.0 - jnp.asarray(decay)
    return share if count is None else jnp.maximum(share, 9.0 / (10.0 + jnp.asarray(count, jnp.float32)))


def _wide(leaf: Numeric) -> DType:
    dtype = jnp.result_type(leaf)
    return jnp.promote_types(dtype, jnp.float32) if jnp.issubdtype(dtype, jnp.inexact) else dtype
