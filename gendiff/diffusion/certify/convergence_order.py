"""Orders of convergence: the slope of log(error) against log(1 / steps), with a bootstrap interval over the rows."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gendiff.core import checks
from gendiff.core.types import ArrayLike

WINDOW = (1e-10, 1e-2)
"""Errors that count. Smaller ones feel rounding in float64; larger ones are not yet on the slope."""
DOUBLINGS = 4
"""How many doublings of the steps a fit needs, and uses: the finest in the window."""
RESAMPLES = 1000
SEED = 0
"""Of the bootstrap's resamples, so that one measurement has one interval."""


@dataclass(frozen=True)
class Fit:
    """A fitted order, or why there is none.

    Args:
        order: the fitted order, None where there is none.
        low: lower end of its 95 % interval.
        high: upper end of it.
        steps: the numbers of steps that the fit used.
        reason: why there is no order, in words.
    """

    order: float | None = None
    low: float | None = None
    high: float | None = None
    steps: tuple[int, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        if self.order is None:
            return f"not fitted: {self.reason}"
        return f"{self.order:.2f} [{self.low:.2f}, {self.high:.2f}] over {self.steps[0]}…{self.steps[-1]} steps"


def fit(steps: tuple[int, ...], squares: Float[ArrayLike, "k n"]) -> Fit:
    """The order at which the root of the mean square over rows falls.

    It is fitted by least squares to the finest `DOUBLINGS` doublings whose errors lie in `WINDOW`. With fewer, the
    result says so.

    Args:
        steps: k numbers of steps, each twice the one before.
        squares: (k, n) squared errors of n rows, such as start points, n >= 2.

    Returns:
        The fit, with the 95 % percentile interval over rows that are drawn again.

    Raises:
        ValueError: for step counts that do not double or are none, and for fewer than 2 rows.

    References:
        Efron, 1979 (from memory).
    """
    squares = np.asarray(squares, np.float64)
    doubling = all(after == 2 * before for before, after in itertools.pairwise(steps))
    if not steps or squares.ndim != 2 or len(squares) != len(steps) or not doubling:
        raise ValueError(
            f"an order is fitted to step counts that double, one row of errors each, got {steps} and {squares.shape}"
        )
    checks.integer("rows", squares.shape[1], 2)
    errors = np.sqrt(np.mean(squares, axis=1))
    if not np.all(np.isfinite(errors)):
        return Fit(reason=f"the error at {steps[int(np.argmin(np.isfinite(errors)))]} steps is not finite")
    used = _finest_run(errors)
    if len(used) <= DOUBLINGS:
        usable = f"{max(len(used) - 1, 0)} of {DOUBLINGS} doublings lie in {WINDOW[0]:g}…{WINDOW[1]:g}"
        return Fit(reason=f"{usable}; errors are {errors.min():.1e}…{errors.max():.1e}")
    chosen = tuple(steps[k] for k in used)
    rows = np.random.default_rng(SEED).integers(squares.shape[1], size=(RESAMPLES, squares.shape[1]))
    resampled = np.mean(squares[used][:, rows], axis=2)  # (k, resamples)
    low, high = np.quantile(_slope(chosen, np.sqrt(resampled)), [0.025, 0.975])
    return Fit(float(_slope(chosen, errors[used][:, None])[0]), float(low), float(high), chosen)


def between(steps: tuple[int, ...], errors: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    """The order between each number of steps and the next.

    Args:
        steps: k numbers of steps, rising.
        errors: the k errors.

    Returns:
        k - 1 orders, NaN where an error is 0.
    """
    errors = np.asarray(errors, np.float64)
    usable = (errors[:-1] > 0) & (errors[1:] > 0)
    ratio = np.where(usable, errors[:-1], 1) / np.where(usable, errors[1:], 1)
    return tuple(np.where(usable, np.log(ratio) / np.diff(np.log(steps)), np.nan).tolist())


def _finest_run(errors: np.ndarray) -> list[int]:
    """The last consecutive entries in the window, at most DOUBLINGS + 1 of them."""
    inside = np.flatnonzero((errors >= WINDOW[0]) & (errors <= WINDOW[1])).tolist()
    run: list[int] = []
    for k in reversed(inside):
        if len(run) > DOUBLINGS or (run and run[0] != k + 1):
            break
        run.insert(0, k)
    return run


def _slope(steps: tuple[int, ...], errors: Int[np.ndarray, "k r"] | np.ndarray) -> np.ndarray:
    """(r,) minus the least-squares slope of log errors (k, r) against log steps (k,)."""
    x = np.log(np.asarray(steps, np.float64))
    x = x - x.mean()
    slopes: np.ndarray = -(x @ np.log(np.maximum(errors, np.finfo(np.float64).tiny))) / (x @ x)
    return slopes
