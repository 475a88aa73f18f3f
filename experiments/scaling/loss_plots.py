"""Plots of sweeps over sizes and budgets: loss profiles at equal operations, and the surface of a law with its optima and runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.reporting import contours, families
from experiments.reporting.families import Member
from experiments.reporting.plots import Curve
from experiments.reporting.results import Figure
from gendiff.scaling.fits import IsoFlopFit, Points

LEVELS = 9
"""Contours of a surface."""


def surface(
    law: Any,
    path: Path,
    caption: str,
    *,
    optima: Mapping[str, Any] | None = None,
    places: Mapping[str, tuple[float, float]] | None = None,
    points: Points | None = None,
) -> Figure:
    """PNG of the loss over parameters and tokens.

    optima: laws by name whose best sizes are lines. places: trained models by name, as (parameters, tokens). points: runs of a sweep, which
    with the places decide how far the axes reach.
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
    """PNG of the loss over parameters, with the parabola of each budget and its minimum; a dashed line joins the minima."""
    nearest = np.abs(np.log(points.flops)[:, None] - np.log(fit.budgets)).argmin(axis=1)
    members = []
    for number, budget in enumerate(fit.budgets):
        of = points.take(np.flatnonzero(nearest == number))
        mark = (float(fit.minima[number]), float(fit.losses[number])) if fit.interior[number] else None
        members.append(Member(float(budget), of.parameters, of.loss, *_parabola(of), mark=mark))
    return families.families(
        members, path, caption, x_label="parameters", y_label="loss", number_label="operations of training", marks="minima"
    )


def _parabola(of: Points) -> tuple[np.ndarray, np.ndarray]:
    """Points of the parabola through the losses of one budget; none where there are fewer than three sizes."""
    sizes = np.log(of.parameters)
    if len(np.unique(sizes)) < 3:
        return np.empty(0), np.empty(0)
    middle = sizes.mean()
    dense = np.linspace(sizes.min(), sizes.max(), 60)
    return np.exp(dense), np.polyval(np.polyfit(sizes - middle, of.loss, 2), dense - middle)


def _every(flops: np.ndarray) -> int:
    """Decades between two dashed lines, so that there are about five."""
    return max(1, round(np.log10(flops[-1] / flops[0]) / 6))


def _rounded(levels: np.ndarray) -> list[float]:
    """Rising levels with as few digits as tell them apart."""
    for digits in range(1, 6):
        rounded = np.unique(np.round(levels, digits))
        if len(rounded) == len(levels):
            break
    return rounded.tolist()
