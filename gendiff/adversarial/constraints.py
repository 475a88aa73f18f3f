"""Constraints that keep a critic smooth: functions from parameters to parameters, applied after each update.

A constraint comes after the update, never before: the optimizer would step out of the bounds again. `spectral.iterate`
is one too.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.core import checks
from gendiff.core.records import record
from gendiff.core.types import Numeric, Params, Scalar

Constraint = Callable[[Params], Params]
"""Parameters after an update -> those that the next step begins with."""


@record
class WeightClipping:
    """Built by `weight_clipping`."""

    limit: Scalar

    def __call__(self, params: Params) -> Params:
        """Every floating number cut to [−limit, limit]; other leaves as they are."""

        def clipped(leaf: Numeric) -> Numeric:
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                return leaf
            limit = jnp.asarray(self.limit, jnp.result_type(leaf))
            return jnp.clip(leaf, -limit, limit)

        return jax.tree.map(clipped, params)


def weight_clipping(limit: Scalar) -> Constraint:
    """Keep all parameters of the critic within ± limit, which bounds its slope; biases as well, as in the paper.

    Args:
        limit: () above 0, data under jit; 0.01 in the paper. A large one bounds little, a small one lets gradients
            vanish.

    Raises:
        ValueError: for a limit that is not above 0.

    References:
        Arjovsky et al., 2017, Algorithm 1, line 7 (from memory).
    """
    checks.in_range("limit", limit, 0.0, math.inf, open_low=True, open_high=True)
    return WeightClipping(limit)
