"""Variable projection: the law is linear in all constants but its two exponents, so the search is over these alone."""

import itertools
from dataclasses import dataclass

import numpy as np
import scipy

from gendiff.scaling.fits.data_points import Points, check_separable
from gendiff.scaling.fits.surface_fit import SurfaceFit
from gendiff.scaling.laws import Chinchilla

BOUNDS = (1e-3, 3.0)
"""Of both exponents."""
GRID = np.linspace(0.05, 1.5, 15)
SMALL = 1e-8


@dataclass(frozen=True)
class VarproFit(SurfaceFit):
    """A fitted law, and whether it is at a minimum.

    Args:
        law: fitted.
        objective: half of the sum of the squares of predicted / measured - 1.
        gradient_norm: largest entry of its gradient in (α, β), with the other constants at their best.
        converged: whether that is small beside the number of points, both exponents lie inside (0.001, 3), and the
            three other constants are above 0.
    """


def fit_varpro(table: Points) -> VarproFit:
    """Fit E + A / N^α + B / D^β by least squares of relative residuals, predicted / measured - 1.

    For each (α, β), the best E, A and B that are not negative solve a linear problem. What is left is a function of two
    numbers, whose lowest point on a grid starts the search. Where noise is small, relative residuals are those of the
    log. A point far off pulls as far as in any least squares.

    Args:
        table: of the sweep, at least 6 runs with 3 different N and 3 different D.

    Raises:
        ValueError: where N and D cannot be told apart, and where the loss of the best surface does not fall with both.

    References:
        Golub & Pereyra, 1973 (from memory).
    """
    check_separable(table)
    projection = _Projection(table)
    start = min(itertools.product(GRID, GRID), key=lambda exponents: projection.objective(np.array(exponents)))
    ended = scipy.optimize.least_squares(
        projection.residuals, start, jac="3-point", bounds=BOUNDS, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=300
    )
    floor, of_size, of_tokens = projection.linear(ended.x)
    if min(of_size, of_tokens) <= 0:
        raise ValueError(
            "the loss of the best surface does not fall with both parameters and tokens: look for runs that diverged"
        )
    alpha, beta = ended.x
    law = Chinchilla(
        floor,
        of_size * np.exp(alpha * projection.centre[0]),
        of_tokens * np.exp(beta * projection.centre[1]),
        alpha,
        beta,
    )
    gradient = float(np.abs(ended.jac.T @ ended.fun).max())
    inside = bool(np.all((ended.x > BOUNDS[0]) & (ended.x < BOUNDS[1])))
    return VarproFit(law, float(ended.cost), gradient, inside and floor > 0 and gradient <= SMALL * len(table))


class _Projection:
    """The linear problem of each pair of exponents."""

    def __init__(self, table: Points):
        logs = np.log(table.parameters), np.log(table.tokens)
        self.centre = float(logs[0].mean()), float(logs[1].mean())
        self.size, self.tokens = logs[0] - self.centre[0], logs[1] - self.centre[1]
        self.loss = table.loss

    def columns(self, exponents: np.ndarray) -> np.ndarray:
        """(n, 3) columns that E and the scaled A and B multiply, over the measured losses."""
        ones = np.ones_like(self.loss)
        rows = np.stack((ones, np.exp(-exponents[0] * self.size), np.exp(-exponents[1] * self.tokens)), axis=-1)
        columns: np.ndarray = rows / self.loss[:, None]
        return columns

    def linear(self, exponents: np.ndarray) -> np.ndarray:
        """The best three constants, not below 0."""
        constants: np.ndarray = scipy.optimize.nnls(self.columns(exponents), np.ones_like(self.loss))[0]
        return constants

    def residuals(self, exponents: np.ndarray) -> np.ndarray:
        """(n,) predicted / measured - 1."""
        residuals: np.ndarray = self.columns(exponents) @ self.linear(exponents) - 1
        return residuals

    def objective(self, exponents: np.ndarray) -> float:
        """Half of the sum of the squares."""
        return float((self.residuals(exponents) ** 2).sum() / 2)
