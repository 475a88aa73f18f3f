"""Approach 3: a surface of loss over parameters and tokens, fitted to all runs of a sweep at once.

Also known as: the Chinchilla fit (Hoffmann et al., 2022, approach 3).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from gendiff.core import checks
from gendiff.scaling.fits import huber
from gendiff.scaling.fits.data_points import Points, check_separable
from gendiff.scaling.fits.surface_fit import SurfaceFit
from gendiff.scaling.laws import Chinchilla

GRID = (
    (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    (-1.0, -0.5, 0.0, 0.5, 1.0),
    *2 * ((0.0, 0.5, 1.0, 1.5, 2.0),),
)
"""Starts of (a, b, e, α, β), as published."""
DESCENTS = 20
"""How many starts of the grid, the lowest ones, are descended from."""


@dataclass(frozen=True)
class ParametricFit(SurfaceFit):
    """A fitted law, and whether it is at a minimum.

    Args:
        law: fitted.
        objective: the sum that was minimised, at the law.
        gradient_norm: largest entry of the objective's gradient, in (a, b, e, α, β) with a and b at the mean of ln N
            and ln D.
        converged: whether the gradient is below 1e-8 of the largest that is possible, and the Hessian is positive
            definite.
        starts: how many descents ended at this minimum, of the 20 from the lowest starts of the grid.
        delta: of the Huber loss.
        dropped: how many of the largest losses were left out.
    """

    starts: int
    delta: float
    dropped: int


def fit_parametric(table: Points, *, delta: int | float = 1e-3, drop_largest: int = 0) -> ParametricFit:
    """Fit E + A / N^α + B / D^β by the Huber loss of the log: approach 3.

    It minimises Σ Huber_δ(log-sum-exp(a - α ln N, b - β ln D, e) - ln L) by Newton's method from the lowest starts of
    the published grid. This is robust regression: where `delta` is small beside the noise, nearly least absolute
    deviations. The law of a likelihood whose scale is fitted too, as that of `published.EPOCH`, is another estimate.

    Args:
        table: of the sweep, at least 6 runs with 3 different N and 3 different D.
        delta: of the Huber loss, in ln L, > 0; 1e-3 as published. inf is least squares, the likeliest law under
            log-normal noise.
        drop_largest: how many of the largest losses to leave out. Besiroglu et al. leave out 5; the constants move a
            lot with it.

    Returns:
        A fit. Look at `converged` before its constants.

    Raises:
        ValueError: where N and D cannot be told apart, and where the loss of the best surface does not fall with both.

    References:
        Hoffmann et al., 2022, section 3.3 and appendix D.3 (from memory); Besiroglu et al., 2024, section 2.
    """
    checks.in_range("delta", delta, 0.0, math.inf, open_low=True)
    remaining = table.without_largest(drop_largest)
    check_separable(remaining)
    target = huber.objective(remaining, float(delta))
    reached = huber.minimise(target, lowest_starts(target))
    best = int(np.argmin(reached.value))
    level = reached.value[best] + 1e-6 * abs(reached.value[best]) + 1e-15
    chosen = reached.at(np.array([best]))
    return ParametricFit(
        law=_falling(target, chosen.constants[0]),
        objective=float(chosen.value[0]),
        gradient_norm=float(chosen.gradient_norm[0]),
        converged=bool(target.converged(chosen)[0]),
        starts=int((reached.value <= level).sum()),
        delta=float(delta),
        dropped=drop_largest,
    )


def huber_objective(table: Points, law: Chinchilla, delta: int | float = 1e-3) -> float:
    """Compute the sum that `fit_parametric` minimises, for any law, such as a published one.

    Args:
        table: of the sweep.
        law: to judge.
        delta: of the Huber loss, > 0.
    """
    checks.in_range("delta", delta, 0.0, math.inf, open_low=True)
    target = huber.objective(table, float(delta))
    return float(target.values(target.constants_of(law))[0])


def lowest_starts(target: huber.Objective) -> np.ndarray:
    """The lowest starts of the grid (20, 5), whose a and b are moved to the means of ln N and ln D."""
    grid = np.array(list(itertools.product(*GRID)))
    grid[:, :2] -= grid[:, 3:] * target.centre
    values = np.concatenate([target.values(part) for part in np.array_split(grid, 20)])
    return grid[np.argsort(values, kind="stable")[:DESCENTS]]


def _falling(target: huber.Objective, constants: np.ndarray) -> Chinchilla:
    alpha, beta = constants[3:]
    if min(alpha, beta) <= 0:
        raise ValueError(
            f"the loss of the best surface does not fall with both parameters and tokens (alpha {alpha:.3g}, beta "
            f"{beta:.3g}): look for runs that diverged, or widen the sweep"
        )
    return target.law(constants)
