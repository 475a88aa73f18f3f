"""What the certify experiment shows: small multiples of error against evaluations, each curve named at its end."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.diffusion.certify.findings import Errors, Range
from experiments.diffusion.certify.measure import Measured
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures, plots
from experiments.reporting.results import Figure
from gendiff.diffusion.certify import Certificate, Curve, Method

COLOURS: dict[float | None, str] = {
    None: figures.COLOURS[5],
    1: figures.COLOURS[0],
    2: figures.COLOURS[1],
    3: figures.COLOURS[2],
    4: figures.COLOURS[3],
}
"""By the order that theory states."""
FLOOR = 1e-13
"""Errors below it are rounding, and are not drawn."""
GAP = 0.055
"""Least distance of two names, in heights of a panel."""


@dataclass(frozen=True)
class Line:
    """A curve of y (t,) over x (t,), with the name that stands at its end; without one it is drawn as background. joined: by lines."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    joined: bool = True


def all_of(folder: RunFolder, first: Measured) -> tuple[Figure, ...]:
    """Every figure of the experiment, from the measurements of one seed."""
    return (
        *flow_errors(folder, first.certificates),
        *weak_errors(folder, first.certificates),
        *third_order(folder, first.third_order),
        *previous_timestep(folder, first.timesteps),
    )


def flow_errors(folder: RunFolder, measured: Sequence[Certificate]) -> list[Figure]:
    """Of the deterministic samplers, a panel for each family; nothing where none was measured."""
    curves = {certificate.method: certificate.curve("flow") for certificate in measured if not certificate.stochastic}
    if not curves:
        return []
    _of_families(folder.figure("flow_errors"), curves, "error of end points")
    caption = "Error against evaluations of every deterministic sampler; a colour is the order that theory states."
    return [Figure("flow_errors.png", caption)]


def weak_errors(folder: RunFolder, measured: Sequence[Certificate]) -> list[Figure]:
    """Of the stochastic samplers, where there is a law."""
    stochastic = {certificate.method: certificate.curve("weak") for certificate in measured if certificate.stochastic}
    curves = {method: curve for method, curve in stochastic.items() if curve.steps}
    if not curves:
        return []
    _of_families(folder.figure("weak_errors"), curves, "Wasserstein-2 distance of laws")
    caption = (
        "Weak error against evaluations of the stochastic samplers, exact on Gaussian data. "
        "Euler ancestral and SDE solvers of first order draw the curve of DDPM."
    )
    return [Figure("weak_errors.png", caption)]


def third_order(folder: RunFolder, measured: Mapping[Range, Mapping[str, Curve]]) -> list[Figure]:
    """Both formulas, a panel for each range of levels."""
    parts = {
        str(between): [Line(formula, curve.steps, curve.errors, COLOURS[curve.stated]) for formula, curve in curves.items()]
        for between, curves in measured.items()
    }
    panels(parts, folder.figure("third_order"), x_label="steps", y_label="error of end points")
    return [Figure("third_order.png", "The third-order multistep method with its second difference right (exact) and as published.")]


def previous_timestep(folder: RunFolder, measured: Mapping[str, Errors]) -> list[Figure]:
    """DDIM with the grid's levels and with the formula, a panel for each spacing."""
    blue, orange = figures.COLOURS[:2]
    parts = {}
    for spacing, errors in measured.items():
        grid, formula = (np.sqrt(np.mean(squares, axis=1)).tolist() for squares in (errors.grid, errors.formula))
        parts[spacing] = [Line("t − T//n", errors.counts, formula, orange, joined=False), Line("the grid", errors.counts, grid, blue)]
    panels(parts, folder.figure("previous_timestep"), x_label="steps", y_label="error of end points")
    return [Figure("previous_timestep.png", "DDIM's error where each step aims at the grid's next level, and at entry t − T//n.")]


def panels(
    parts: Mapping[str, Sequence[Line]], path: str | os.PathLike[str], *, x_label: str, y_label: str, key: Mapping[str, str] | None = None
) -> Path:
    """PNG of one log-log plot a title, at most three in a row, all on the same axes. key: what the colours mean, by name."""
    from matplotlib.lines import Line2D  # here, since loading it takes half a second

    across = min(3, len(parts))
    down = -(-len(parts) // across)
    figure = plots.blank(3.3 * across + 0.4, 2.9 * down + (0.4 if key else 0.1))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    named = [line for lines in parts.values() for line in lines if line.name]
    x, y = (np.concatenate([np.asarray(getattr(line, name), np.float64) for line in named]) for name in ("x", "y"))
    y = y[np.isfinite(y) & (y >= FLOOR)]
    limits = (0.8 * x.min(), x.max() * (x.max() / x.min()) ** 0.32), (y.min() / 2, 2 * y.max())
    for axes, (title, lines) in zip(grid, parts.items(), strict=False):
        plots.style(axes, title, size=9.5, ticks=8)
        axes.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
        for line in lines:
            _draw(axes, line)
        _name_ends(axes, [line for line in lines if line.name], np.log(limits[1]))
    for axes in grid[len(parts) :]:
        axes.set_axis_off()
    figure.supxlabel(x_label, color=figures.INK, fontsize=9)
    figure.supylabel(y_label, color=figures.INK, fontsize=9)
    if key:
        handles = [Line2D([], [], color=colour, linewidth=2.4, label=name) for name, colour in key.items()]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(key), frameon=False, labelcolor=figures.INK, fontsize=9)
    return plots.save(figure, path)


def _of_families(path: Path, curves: Mapping[Method, Curve], y_label: str) -> None:
    """A panel a family, over the curves of all others. Methods without a label are a labelled one's double."""
    shown = {method: curve for method, curve in curves.items() if method.label}
    background = [Line("", curve.evaluations, curve.errors, figures.INK) for curve in shown.values()]
    parts: dict[str, list[Line]] = {}
    for method, curve in shown.items():
        line = Line(method.label, curve.evaluations, curve.errors, COLOURS[curve.stated])
        parts.setdefault(method.family, [*background]).append(line)
    orders = sorted({curve.stated for curve in shown.values()}, key=lambda order: (order is None, order or 0))
    key = {"no order stated" if order is None else f"order {order:g}": COLOURS[order] for order in orders}
    panels(parts, path, x_label="evaluations", y_label=y_label, key=key)


def _draw(axes: Any, line: Line) -> None:
    y = np.asarray(line.y, np.float64)
    y = np.where(y >= FLOOR, y, np.nan)
    if line.name:
        marker = "o" if len(y) <= 12 or not line.joined else None
        axes.plot(line.x, y, color=line.colour, linewidth=1.6 if line.joined else 0, marker=marker, markersize=2.6, zorder=3)
    else:
        axes.plot(line.x, y, color=line.colour, linewidth=0.7, alpha=0.22, zorder=1)


def _name_ends(axes: Any, lines: Sequence[Line], span: np.ndarray) -> None:
    """Names to the right of the last points, moved apart where their heights lie close together."""
    ends = []
    for line in lines:
        seen = [k for k, y in enumerate(line.y) if np.isfinite(y) and y >= FLOOR]
        if seen:
            ends.append((float((np.log(line.y[seen[-1]]) - span[0]) / (span[1] - span[0])), line, float(line.x[seen[-1]])))
    if not ends:
        return
    ends.sort(key=lambda end: end[0])
    places = _apart([place for place, _, _ in ends])
    for place, (_, line, x) in zip(places, ends, strict=True):
        height = float(np.exp(span[0] + place * (span[1] - span[0])))
        axes.text(1.2 * x, height, line.name, color=line.colour, fontsize=7.5, va="center", ha="left", zorder=4)


def _apart(places: Sequence[float]) -> np.ndarray:
    """Rising places moved so that neighbours are `GAP` apart and none lies outside 0.02 … 0.98."""
    moved = np.array(places, np.float64)
    for _ in range(200):
        close = GAP - np.diff(moved)
        if np.all(close <= 1e-6):
            break
        push = np.maximum(close, 0) / 2
        moved[:-1] -= push
        moved[1:] += push
    low, high = 0.02, 0.98
    moved += max(0.0, low - moved[0])
    return moved - max(0.0, moved[-1] - high)
