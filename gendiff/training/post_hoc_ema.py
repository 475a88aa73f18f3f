"""Post-hoc EMA: averages of parameters whose length is chosen after the training.

A power-function average weighs the parameters θ_i of step i in the average of step t by the integral of its profile
over (i - 1, i]:

    p(τ) = (γ + 1) τ^γ / t^(γ + 1) on (0, t].

It is kept up step by step with β_t = (1 - 1/t)^(γ + 1), and forgets the random start in its first step. Its length
grows with t: the relative standard deviation of the profile, σ_rel = std(τ) / t, is a number of γ alone. A few such
averages, stored every now and then, span the profiles of other lengths and steps. So their sum with the best weights is
the average of a length that the training never tracked.

A step that is skipped, as its loss was not finite, counts for t and leaves the average as it is. `weights`
ignores that: each such step is an error of about (γ + 1) / t of the distance between parameters and average.

References:
    Karras et al., 2024 (EDM2), section 3 and appendix C (from memory).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Count, Params, Scalar
from gendiff.training import ema

LONGEST = 1 / math.sqrt(12)
"""The relative standard deviation of the plain mean of all steps, whose γ is 0."""
PREFIX = "power_"


def gamma(relative_std: float) -> float:
    """Return the exponent γ of a relative standard deviation: (γ + 1)^½ (γ + 2)^-1 (γ + 3)^-½ = σ_rel.

    Args:
        relative_std: σ_rel in (0, 12^-½]; 0.05 gives 16.972, and 12^-½ gives 0, the plain mean.

    Raises:
        ConfigError: for a value out of range.
    """
    _check_relative_std(relative_std)
    # with y = γ + 2 it is y³ + y² - s y + s = 0, s = σ_rel^-2; its largest root by the cosine of a third of an angle
    s = relative_std**-2.0
    radius = 2 * math.sqrt((s + 1 / 3) / 3)
    cosine = -4 * (2 / 27 + 4 * s / 3) / radius**3
    return max(0.0, radius * math.cos(math.acos(max(-1.0, cosine)) / 3) - 1 / 3 - 2)


@functools.total_ordering  # JAX sorts the keys of a dict: power functions stand after all decays
@dataclasses.dataclass(frozen=True)
class PowerFunction:
    """A track of `training.start` by a power function: what `power` builds, and a key of `state.tracks`.

    Attributes:
        relative_std: σ_rel in (0, 12^-½].
    """

    relative_std: float

    def __post_init__(self) -> None:
        _check_relative_std(self.relative_std)

    def __str__(self) -> str:
        return f"{PREFIX}{self.relative_std}"

    def __lt__(self, other: object) -> bool:
        if isinstance(other, PowerFunction):
            return self.relative_std < other.relative_std
        return False if isinstance(other, int | float) else NotImplemented

    def update(self, average: Params, params: Params, count: Count) -> Params:
        """Return the average after one more step.

        Args:
            average: what `ema.start` or this returned.
            params: the parameters after the step.
            count: () number of steps done before. At 0 the average becomes params.

        Raises:
            TypeError: for an average narrower than float32.
        """
        steps = jnp.asarray(count).astype(float) + 1
        share = -jnp.expm1((gamma(self.relative_std) + 1) * jnp.log1p(-1 / steps))  # 1 - β_t, with all its digits
        return ema.move(average, params, share)


Track = float | PowerFunction
"""The name of an average of `training.start`: its decay, or its power function."""


def power(relative_std: float) -> PowerFunction:
    """Return a power-function track for the `ema` of `training.start` and `training.compile_loss`.

    Args:
        relative_std: σ_rel in (0, 12^-½]. The two of the paper are 0.05 and 0.10; `relative_error` tells which lengths
            they reach.

    Raises:
        ConfigError: for a value out of range.
    """
    return PowerFunction(float(relative_std))


def track(value: Scalar | PowerFunction) -> Track:
    """Return a decay as a float and a power function as it is, once checked.

    Raises:
        ConfigError: for a decay outside [0, 1).
    """
    if isinstance(value, PowerFunction):
        return value
    ema.check_decay(value)
    return float(value)


class Snapshot(NamedTuple):
    """An average: its relative standard deviation, and the number of steps after which it was or would be stored."""

    relative_std: float
    step: int


def weights(stored: Sequence[Snapshot], requested: Snapshot) -> np.ndarray:
    """Return factors of stored averages whose sum has the profile nearest to the requested one.

    They are the least-squares fit over all steps, computed in float64 from inner products in closed form. Where the
    requested average is stored, its factor is 1 and the others are 0.

    Args:
        stored: n averages of one training, in any order.
        requested: of any length, after any step that is not later than the newest stored one. See `relative_error` for
            what it misses.

    Returns:
        (n,) float64.

    Raises:
        ValueError: for no averages, one that is given twice, a step below 1, and a requested step after the newest.
        ConfigError: for a relative standard deviation out of range.
    """
    _check(stored, requested)
    if requested in stored:
        return np.array([float(snapshot == requested) for snapshot in stored])
    # with profiles of norm 1 the equations depend on no unit, and are better conditioned
    cosines, towards = _cosines(stored, stored), _cosines(stored, [requested])[:, 0]
    factors = np.linalg.lstsq(cosines, towards, rcond=None)[0]
    scaled: np.ndarray = factors * _norms([requested]) / _norms(stored)
    return scaled


def relative_error(stored: Sequence[Snapshot], requested: Snapshot) -> float:
    """Return the error of `weights`: the distance between the sum's profile and the requested one, over its norm.

    0 is a perfect fit. Where parameters move at random from step to step, the average misses the same share of their
    spread in it.

    Args:
        stored: see `weights`.
        requested: see `weights`.
    """
    factors = weights(stored, requested) * _norms(stored) / _norms([requested])
    squared = 1 - 2 * factors @ _cosines(stored, [requested])[:, 0] + factors @ _cosines(stored, stored) @ factors
    return math.sqrt(max(0.0, squared))


def reconstruct(read: Callable[[Snapshot], Params], stored: Sequence[Snapshot], requested: Snapshot) -> Params:
    """Return the average of the requested length: the sum of stored ones with `weights`.

    They are read one after the other, those of weight 0 not at all. Two trees are in memory: the sum, and the one that
    was read.

    Args:
        read: from one of `stored` to its parameters. Leaves that are no floats are taken from the newest that is read.
        stored: see `weights`.
        requested: see `weights`.

    Raises:
        ValueError: see `weights`.
        ConfigError: see `weights`.
    """
    parts = sorted(zip(stored, weights(stored, requested), strict=True), key=lambda part: part[0].step)
    total = None
    for snapshot, factor in parts:
        if factor:
            part = read(snapshot)
            total = _scaled(part, factor) if total is None else _added(total, part, factor)
    return total


def _scale(part: Params, factor: Scalar) -> Params:
    def one(leaf: jax.Array) -> jax.Array:
        return leaf * jnp.asarray(factor, leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.tree.map(one, part)


def _add(total: Params, part: Params, factor: Scalar) -> Params:
    def one(old: jax.Array, new: jax.Array) -> jax.Array:
        return old + new if jnp.issubdtype(old.dtype, jnp.inexact) else new

    return jax.tree.map(one, total, _scale(part, factor))


_scaled = jax.jit(_scale)
_added = jax.jit(_add, donate_argnums=0)


def _cosines(first: Sequence[Snapshot], second: Sequence[Snapshot]) -> np.ndarray:
    """The inner products (n, m) of profiles of norm 1.

    Before they are scaled, that of p_a and p_b with t_a ≤ t_b is (γ_a + 1)
    (γ_b + 1) / (γ_a + γ_b + 1) · (t_a / t_b)^γ_b / t_b.
    """
    (step_a, gamma_a), (step_b, gamma_b) = (
        (
            np.array([float(snapshot.step) for snapshot in side]),
            np.array([gamma(snapshot.relative_std) for snapshot in side]),
        )
        for side in (first, second)
    )
    step_a, gamma_a = step_a[:, None], gamma_a[:, None]
    later = np.where(step_a > step_b, gamma_a, gamma_b)
    shared = (np.minimum(step_a, step_b) / np.maximum(step_a, step_b)) ** later / np.maximum(step_a, step_b)
    # (γ + 1)² / (2γ + 1) / t is the squared norm
    scale = np.sqrt((2 * gamma_a + 1) * (2 * gamma_b + 1) * step_a * step_b)
    cosines: np.ndarray = scale / (gamma_a + gamma_b + 1) * shared
    return cosines


def _norms(snapshots: Sequence[Snapshot]) -> np.ndarray:
    exponents = np.array([gamma(snapshot.relative_std) for snapshot in snapshots])
    steps = np.array([float(snapshot.step) for snapshot in snapshots])
    norms: np.ndarray = (exponents + 1) / np.sqrt((2 * exponents + 1) * steps)
    return norms


def _check(stored: Sequence[Snapshot], requested: Snapshot) -> None:
    if not stored:
        raise ValueError("stored is empty: a reconstruction needs averages to add up")
    if len(set(stored)) < len(stored):
        raise ValueError("stored names an average twice: give each once")
    for snapshot in (*stored, requested):
        checks.integer("step", snapshot.step, 1)
    newest = max(snapshot.step for snapshot in stored)
    if requested.step > newest:
        raise ValueError(
            f"requested.step = {requested.step} is after the newest stored step {newest}: no stored average holds "
            "what came later"
        )


def _check_relative_std(relative_std: float) -> None:
    if not 0 < relative_std <= LONGEST:
        raise ConfigError(f"relative_std = {relative_std} is outside (0, {LONGEST:.4f}]: usual ones are 0.05 to 0.25")
