"""Into how many intervals the path of a consistency model is divided, and how much each counts."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import checks, records
from gendiff.core.types import Count
from gendiff.diffusion.types import Level

PairWeight = Callable[[Level, Level], jax.Array]
"""(level, cleaner), both (b,) -> (b,)."""


def inverse_gap() -> PairWeight:
    """The weight 1 / (sigma/alpha - sigma'/alpha'): short intervals, at little noise, count more.

    For schedules with alpha > 0.

    References:
        Song & Dhariwal, 2024, section 3.1 (from memory).
    """
    return InverseGap()


@records.record
class InverseGap:
    """The weight of `inverse_gap`."""

    def __call__(self, level: Level, cleaner: Level) -> Array:
        """The weight of each pair, of the levels' shape."""
        weight: Array = 1 / (level.sigma / level.alpha - cleaner.sigma / cleaner.alpha)
        return weight


@records.record
class UnitWeight:
    """1 for each pair."""

    def __call__(self, level: Level, cleaner: Level) -> Array:
        """The weight of each pair, of the levels' shape."""
        return jnp.ones_like(level.sigma)


def doubling_intervals(step: Count, total: int, *, least: int = 10, most: int = 1280) -> Count:
    """The number of intervals of the path at a step of training: it doubles from `least` to `most` in equal stages.

    Args:
        step: () integer, how many steps are done; data under jit.
        total: steps of the whole training, at least one for each stage.
        least: intervals at first, at least 1.
        most: intervals at the end, at least `least`.

    Raises:
        ValueError: for numbers outside these ranges.

    References:
        Song & Dhariwal, 2024, section 3.4 (from memory).
    """
    checks.integer("least", least, 1)
    checks.integer("most", most, least)
    stages = math.log2(most // least) + 1
    checks.integer("total", total, math.ceil(stages))
    checks.integer("step", step)
    doublings = jnp.minimum(jnp.asarray(step) // math.floor(total / stages), math.ceil(stages))
    return jnp.minimum(least * 2**doublings, most)
