"""Approach 2: a parabola through the losses of each budget, and a power law through the minima."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gendiff.core import checks
from gendiff.scaling.fits.data_points import Points
from gendiff.scaling.fits.power_law import fit_power_law
from gendiff.scaling.laws import Frontier

SIZES = 3
"""Different sizes of a budget that a parabola needs."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The runs of one budget, and the parabola through their losses.

    Args:
        rows: (n,) which runs of the table.
        centre: of log N, about which the parabola is written.
        reach: from there to the largest and to the smallest log N.
        parabola: (3,) of ((log N − centre) / reach)², the same to the first power, and 1; NaN where there are fewer
            than three sizes.
    """

    rows: Int64[np.ndarray, "n"]
    centre: float
    reach: float
    parabola: Float64[np.ndarray, "3"]

    def loss(self, parameters: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        """Return the parabola at sizes (n,)."""
        return np.polyval(self.parabola, (np.log(parameters) - self.centre) / self.reach)

    def minimum(self) -> tuple[float, float, bool]:
        """Return (N, loss, whether N is between the smallest and largest size), NaN without a lowest point."""
        bend, slope, level = self.parabola
        if not bend > 0 or abs(slope) > 200 * bend:  # nearly a line
            return math.nan, math.nan, False
        lowest = -slope / (2 * bend)
        return (
            float(np.exp(self.centre + self.reach * lowest)),
            float(level - slope**2 / (4 * bend)),
            bool(abs(lowest) < 1),
        )


@dataclass(frozen=True, eq=False)
class IsoFlopFit(Frontier):
    """The frontier N = coefficient · C^exponent through the minima of parabolas.

    Args:
        coefficient: > 0.
        exponent: a.
        budgets: (k,) operations, ascending: the geometric mean of each group.
        minima: (k,) N at the lowest point of each parabola; NaN without one.
        losses: (k,) loss there.
        interior: (k,) whether it lies between the smallest and the largest size of its budget. Only such budgets enter
            the frontier.
        r_squared: of the regression of log N on log C.
        profiles: (k,) the runs of each budget and their parabolas.
    """

    budgets: Float64[np.ndarray, "k"]
    minima: Float64[np.ndarray, "k"]
    losses: Float64[np.ndarray, "k"]
    interior: Bool[np.ndarray, "k"]
    r_squared: float
    profiles: tuple[Profile, ...]


def fit_isoflop(table: Points, *, closeness: int | float = 0.2) -> IsoFlopFit:
    """Fit a parabola in log N to each budget's losses, and regress log minima on log budgets: approach 2.

    Also known as: IsoFLOP profiles. A surface whose exponents differ is no parabola: where each budget has the same
    sizes around its best one, the exponent is exact and the coefficient is off by a factor that grows with the width
    and with the difference of α and β, 1.05 for `published.HOFFMANN` at 16 times to each side. `fit_parametric` and
    `fit_varpro` have no such error.

    Args:
        table: of the sweep.
        closeness: runs whose operations exceed those of the smallest run of their group by at most this share are of
            one budget, >= 0.

    Raises:
        ValueError: where fewer than 2 budgets have a minimum inside.

    References:
        Hoffmann et al., 2022, section 3.2 (from memory).
    """
    checks.in_range("closeness", closeness, 0.0, math.inf, open_high=True)
    profiles = tuple(_profile(table, rows) for rows in _groups(table.flops, 1.0 + closeness))
    budgets = np.array([np.exp(np.log(table.flops[each.rows]).mean()) for each in profiles])
    minima, losses, interior = (np.array(column) for column in zip(*(each.minimum() for each in profiles), strict=True))
    if interior.sum() < 2:
        raise ValueError(
            f"{interior.sum()} of {len(budgets)} budgets have a minimum between their smallest and largest size, and 2 "
            "are needed: train smaller and larger sizes at equal operations, or group budgets by a larger closeness"
        )
    line = fit_power_law(budgets[interior], minima[interior])
    return IsoFlopFit(line.coefficient, line.exponent, budgets, minima, losses, interior, line.r_squared, profiles)


def _groups(flops: Float64[np.ndarray, "n"], widest: float) -> list[np.ndarray]:
    """Rows of each budget, the smallest budget first."""
    groups: list[list[int]] = []
    for row in np.argsort(flops, kind="stable"):
        if not groups or flops[row] > widest * flops[groups[-1][0]]:
            groups.append([])
        groups[-1].append(row)
    return [np.array(rows) for rows in groups]


def _profile(table: Points, rows: np.ndarray) -> Profile:
    sizes = np.log(table.parameters[rows])
    centre, reach = (sizes.max() + sizes.min()) / 2, (sizes.max() - sizes.min()) / 2
    several = len(np.unique(sizes)) >= SIZES
    parabola = np.polyfit((sizes - centre) / reach, table.loss[rows], 2) if several else np.full(3, math.nan)
    return Profile(rows.astype(np.int64), float(centre), float(reach), parabola)
