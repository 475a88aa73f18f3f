"""Guidance in a part of the path only: a scale that depends on the noise level."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import arrays, checks, records
from gendiff.core.types import Scalar
from gendiff.diffusion.guidance.strength import Strength
from gendiff.diffusion.types import Level


def interval(scale: Scalar, low: Scalar, high: Scalar) -> Callable[[Level], Array]:
    """A scale for any rule here: `scale` where low < sigma/alpha <= high, elsewhere 1, the conditional prediction.

    Also known as: guidance interval, limited-interval guidance.

    `classifier_free`, `autoguidance` and `adaptive_projected` ask the conditional denoiser alone at levels outside, at
    half of the cost. The saving needs one decision for the whole batch: levels of one call that lie on both sides are
    all asked for both, and so is a call under `vmap` over levels, where batched=True costs 3 evaluations rather than 2.
    The other rules ask everything at every level.

    Args:
        scale: () or (b,), at least 0.
        low: () in [0, inf], a ratio sigma/alpha; data under jit. A log-SNR v is the ratio exp(-v / 2).
        high: () in [0, inf]; inf includes alpha = 0.

    Raises:
        ValueError: for a concrete scale that is negative, for ends outside [0, inf], and for concrete ones that are
            reversed.

    References:
        Kynkäänniemi et al., 2024, Eq. 6, whose noise levels are sigma/alpha.
    """
    checks.in_range("low", low, 0.0, math.inf)
    checks.in_range("high", high, 0.0, math.inf)
    if arrays.is_concrete(low) and arrays.is_concrete(high) and float(low) > float(high):
        raise ValueError(f"low = {low} is above high = {high}: no level would be guided")
    return _Interval(Strength.checked("scale", scale), low, high)


@records.record
class _Interval:
    scale: Strength
    low: Scalar
    high: Scalar

    def __call__(self, level: Level) -> Array:
        ratio = arrays.safe_divide(level.sigma, level.alpha, otherwise=math.inf)
        inside = (ratio > jnp.asarray(self.low)) & (ratio <= jnp.asarray(self.high))
        return jnp.where(inside, jnp.asarray(self.scale.at(level)), 1)
