"""All approaches on the points of one sweep, side by side with intervals; an approach that such points do not allow
says why.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import SupportsFloat, TypeVar

import numpy as np

from gendiff.core.errors import DataError
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.results import Table
from gendiff.runs.reporting.verdicts import Number
from gendiff.scaling import fits
from gendiff.scaling.fits import EnvelopeFit, Finding, IsoFlopFit, ParametricFit, Points, SurfaceFit

T = TypeVar("T")
AnyFit = EnvelopeFit | IsoFlopFit | SurfaceFit
Way = ParametricFit | Callable[[Points], AnyFit]
"""What `fits.bootstrap` fits again."""
LABELS = {
    "envelope": "approach 1, envelope",
    "isoflop": "approach 2, parabolas",
    "parametric": "approach 3, Huber",
    "varpro": "variable projection",
}
CONSTANTS = {"floor": "E", "of_parameters": "A", "of_tokens": "B", "alpha": "α", "beta": "β"}


@dataclasses.dataclass(frozen=True)
class Fit:
    """What one approach found; each number is (value, low, high), the interval being of a bootstrap.

    constants: all fitted numbers by name; N = coefficient · C^exponent. best: the best number of parameters per budget
        that was asked for.
    refused: why there is none; the rest is then empty. converged: whether the optimiser is at a proved minimum, None
        where there is none.
    resamples: those that could be fitted.
    """

    approach: str
    refused: str
    constants: dict[str, Number]
    best: tuple[Number, ...]
    converged: bool | None
    resamples: int


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A `fits.Finding` of the table. lines: of the file, where its runs stand."""

    kind: str
    says: str
    lines: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Fits:
    """fits.json: the columns that were read, how many points there are, how far they reach, and what every approach
    found.

    parameters, tokens, flops, losses: (smallest, largest). dropped: how many of the largest losses were left out.
    budgets: at which best sizes were asked for. findings: what looks wrong in the table.
    """

    data: str
    columns: dict[str, str]
    points: int
    parameters: tuple[float, float]
    tokens: tuple[float, float]
    flops: tuple[float, float]
    losses: tuple[float, float]
    dropped: int
    resamples: int
    seed: int
    budgets: tuple[float, ...]
    fits: tuple[Fit, ...]
    findings: tuple[Doubt, ...] = ()


@dataclasses.dataclass(frozen=True)
class Found:
    """The fits with the objects that plots need; None where the approach was refused. findings: of the runs that are
    not left out.
    """

    fits: tuple[Fit, ...]
    isoflop: IsoFlopFit | None
    parametric: ParametricFit | None
    findings: tuple[Finding, ...] = ()


def fit_all(
    points: Points,
    budgets: tuple[float, ...],
    *,
    dropped: int,
    resamples: int,
    seed: int,
    note: Callable[[str], object],
) -> Found:
    """Every approach by itself. Raises DataError, with each reason, where none of them can fit these points."""
    remaining = points.without_largest(dropped)
    isoflop, reason = _tried(fits.fit_isoflop, remaining)
    parametric, parametric_reason = _tried(lambda table: fits.fit_parametric(table, drop_largest=dropped), points)
    ways: dict[str, tuple[AnyFit | None, str, Points, Way | None]] = {
        "envelope": (*_tried(fits.fit_envelope, remaining), remaining, fits.fit_envelope),
        "isoflop": (isoflop, reason, remaining, fits.fit_isoflop),
        "parametric": (parametric, parametric_reason, points, parametric),
        "varpro": (*_tried(fits.fit_varpro, remaining), remaining, fits.fit_varpro),
    }
    all_fits = []
    for name, (fitted, refused, table, way) in ways.items():
        if not refused:  # a refusal is named once, below the table or in the error
            note(f"{LABELS[name]}: fitted, and now resampled")
        all_fits.append(_side(name, fitted, refused, table, way, budgets, resamples, seed))
    if all(fit.refused for fit in all_fits):
        raise DataError("; ".join(f"{LABELS[fit.approach]}: {fit.refused}" for fit in all_fits))
    exponents = {LABELS[fit.approach]: fit.constants["exponent"] for fit in all_fits if not fit.refused}
    return Found(tuple(all_fits), isoflop, parametric, fits.check_sweep(remaining, parametric, exponents))


def doubts(fitted: Found, points: Points, dropped: int, lines: np.ndarray) -> tuple[Doubt, ...]:
    """The findings with the lines of their runs. lines: (n,) of all points."""
    left = lines[points.smallest_losses(dropped)]
    return tuple(Doubt(each.kind, each.says, tuple(int(left[row]) for row in each.rows)) for each in fitted.findings)


def tables(content: Fits) -> tuple[Table, ...]:
    """The frontiers of all approaches, and the constants of those that fit a surface."""
    fitted = [fit for fit in content.fits if not fit.refused]
    best = tuple(f"best size at {budget:.3g}" for budget in content.budgets)
    rows = [
        (LABELS[fit.approach], *map(_cell, (fit.constants["exponent"], *fit.best)), _minimum(fit)) for fit in fitted
    ]
    note = "N = coefficient · C^exponent. " + " ".join(
        f"{LABELS[fit.approach]}: {fit.refused}." for fit in content.fits if fit.refused
    )
    frontier = Table(
        "The best number of parameters",
        ("approach", "exponent", *best, "at a minimum"),
        tuple(rows),
        note.strip(),
        main=True,
    )
    surfaces = [fit for fit in fitted if "floor" in fit.constants]
    rows = [
        (LABELS[fit.approach], *(_cell(fit.constants[name]) for name in CONSTANTS), _minimum(fit)) for fit in surfaces
    ]
    constants = Table(
        "L = E + A / N^α + B / D^β", ("approach", *CONSTANTS.values(), "at a minimum"), tuple(rows), main=True
    )
    return (frontier, constants) if surfaces else (frontier,)


def reach(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest."""
    return float(values.min()), float(values.max())


def _tried(fit: Callable[[Points], T], table: Points) -> tuple[T | None, str]:
    """(the fit, "") or (None, why not)."""
    try:
        return fit(table), ""
    except ValueError as error:
        return None, str(error)


def _side(
    name: str,
    fitted: AnyFit | None,
    refused: str,
    table: Points,
    way: Way | None,
    budgets: tuple[float, ...],
    resamples: int,
    seed: int,
) -> Fit:
    if fitted is None or way is None:
        return Fit(name, refused, {}, (), None, 0)
    converged = bool(fitted.converged) if isinstance(fitted, SurfaceFit) else None
    try:
        resampled = fits.bootstrap(table, way, resamples=resamples, seed=seed)
    except ValueError:  # a fit whose resamples cannot be fitted has no interval
        constants = {key: _without(value) for key, value in fitted.constants.items()}
        frontier = fitted if isinstance(fitted, EnvelopeFit | IsoFlopFit) else fitted.frontier
        return Fit(
            name,
            "",
            constants,
            tuple(_without(frontier.optimum(budget).parameters) for budget in budgets),
            converged,
            0,
        )
    constants = {key: resampled.interval(key) for key in resampled.whole}
    return Fit(
        name,
        "",
        constants,
        tuple(resampled.optimum(budget) for budget in budgets),
        converged,
        resamples - resampled.refused,
    )


def _without(value: SupportsFloat) -> Number:
    """A number without an interval."""
    return float(value), math.nan, math.nan


def _cell(number: Number) -> CellValue:
    return number[0] if math.isnan(number[1]) else number


def _minimum(fit: Fit) -> str:
    return "" if fit.converged is None else "yes" if fit.converged else "no"
