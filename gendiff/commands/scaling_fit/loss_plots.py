"""Plots of sweeps over sizes and budgets: loss profiles at equal operations, and the surface of a law with its optima
and runs.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gendiff.runs.reporting import contours, families
from gendiff.runs.reporting.families import Member
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure
from gendiff.scaling import laws
from gendiff.scaling.fits import IsoFlopFit, Points

LEVELS = 9
"""Contours of a surface."""


def surface(
    law: laws.Law,
    path: Path,
    caption: str,
    *,
    optima: Mapping[str, laws.Chinchilla | laws.Kaplan | laws.Frontier] | None = None,
    places: Mapping[str, tuple[float, float]] | None = None,
    points: Points | None = None,
) -> Figure:
    """PNG of the loss over parameters and tokens.

    optima: laws by name whose best sizes are lines. places: trained models by name, as (parameters, tokens). points:
    runs of a sweep, which with the places decide how far the axes reach.
    """
    named = dict(places or {})
    reach = [np.array([ends for ends in named.values()]).reshape(-1, 2).T]
    if points is not None:
        reach.append(np.stack((points.parameters, points.tokens)))
    low, high = (function(np.concatenate(reach, axis=1), axis=1) for function in (np.min, np.max))
    x, y = (np.geomspace(first / 6, last * 6, 80) for first, last in zip(low, high, strict=True))
    heights = np.asarray(law.loss(x[None, :], y[:, None]), np.float64)
    flops = 6 * np.geomspace(x[0] * y[0], x[-1] * y[-1], 60)
    lines = []
    for name, each in (optima or {}).items():
        best = each.optimum(flops)
        lines.append(Curve(name, np.asarray(best.parameters), np.asarray(best.tokens)))
    decades = 10.0 ** np.arange(np.ceil(np.log10(flops[0])) + 1, np.log10(flops[-1]) - 1, _every(flops))
    return contours.contours(
        x,
        y,
        heights,
        path,
        caption,
        x_label="parameters",
        y_label="tokens",
        levels=_rounded(np.quantile(heights, np.linspace(0.04, 0.96, LEVELS))),
        paths=lines,
        dashed=[Curve(f"1e{np.log10(each):.0f}", x, each / (6 * x)) for each in decades],
        places=named,
        dots=None if points is None else (points.parameters, points.tokens),
    )


def isoflop(points: Points, fit: IsoFlopFit, path: Path, caption: str) -> Figure:
    """PNG of the loss over parameters, with the parabola of each budget and a line through the minima. fit: of these
    points.
    """
    members = []
    for number, profile in enumerate(fit.profiles):
        profile_points = points.take(profile.rows)
        mark = (float(fit.minima[number]), float(fit.losses[number])) if fit.interior[number] else None
        dense = np.geomspace(profile_points.parameters.min(), profile_points.parameters.max(), 60)
        curve: tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray] = (
            (dense, profile.loss(dense)) if np.isfinite(profile.parabola).all() else ((), ())
        )
        members.append(
            Member(float(fit.budgets[number]), profile_points.parameters, profile_points.loss, *curve, mark=mark)
        )
    return families.families(
        members,
        path,
        caption,
        x_label="parameters",
        y_label="loss",
        number_label="operations of training",
        marks="minima",
    )


def _every(flops: np.ndarray) -> int:
    """Decades between two dashed lines, so that there are about five."""
    return max(1, round(math.log10(flops[-1] / flops[0]) / 6))


def _rounded(levels: np.ndarray) -> list[float]:
    """Rising levels with as few digits as tell them apart."""
    for digits in range(1, 6):
        rounded = np.unique(np.round(levels, digits))
        if len(rounded) == len(levels):
            break
    return list(map(float, rounded))
