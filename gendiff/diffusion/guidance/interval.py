"""How strong guidance is: one number, a number a sample, or a function of the level."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import arrays, checks, records
from gendiff.core.types import Scalar
from gendiff.diffusion.types import Level

Strength = Scalar | Callable[[Level], Any]
"""(), (b,), or a function of the level that answers one of them: module-level, or a record whose numbers stay data."""


@records.record
class _Interval:
    scale: Scalar
    low: Scalar
    high: Scalar

    def __call__(self, level: Level) -> Array:
        ratio = arrays.safe_divide(level.sigma, level.alpha, otherwise=math.inf)
        inside = (ratio > jnp.asarray(self.low)) & (ratio <= jnp.asarray(self.high))
        return jnp.where(inside, jnp.asarray(self.scale), 1)


def interval(scale: Scalar, low: Scalar, high: Scalar) -> Callable[[Level], Any]:
    """A scale for any rule here: `scale` where low < sigma/alpha <= high, elsewhere 1, which is the conditional prediction itself.

    (Kynkäänniemi et al., 2024, Eq. 6, whose noise levels are sigma/alpha.) scale: >= 0, () or (b,). low, high: () in [0, inf], data under
    jit; inf includes alpha = 0. A log-SNR v is the ratio exp(-v / 2). Both predictions are computed at every level all the same.

    Raises ValueError for a concrete scale that is negative and for ends outside [0, inf].
    """
    check_strength("scale", scale)
    checks.in_range("low", low, 0.0, math.inf)
    checks.in_range("high", high, 0.0, math.inf)
    return _Interval(scale, low, high)


def check_strength(name: str, strength: Strength, low: float = 0.0) -> None:
    """ValueError for concrete numbers below `low`, or infinite; a function is not asked."""
    if not callable(strength):
        checks.in_range(name, strength, low, math.inf, open_low=math.isinf(low), open_high=True)


def strength_at(strength: Strength, level: Level) -> Scalar:
    """The number, or the numbers (b,), at this level."""
    return strength(level) if callable(strength) else strength
