"""What the certify experiment shows: small multiples of error against evaluations, each curve named at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.diffusion.certify import Curve, Method
from gendiff.runs.reporting import figures, plots
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder

COLOURS: dict[float | None, str] = {None: figures.INK, **dict(enumerate(figures.COLOURS[:4], 1))}
"""By the order that theory states."""
FLOOR = 1e-13
"""Errors below it are rounding, and are not drawn."""
GAP = 0.055
"""Least distance of two names, in heights of a panel."""


@dataclass(frozen=True)
class Line:
    """A curve of y (t,) over x (t,), with the name that stands at its end; without one it is drawn as
    background. joined: by lines.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    joined: bool = True

    @property
    def visible(self) -> np.ndarray:
        """The y (t,) that are drawn, NaN in place of others."""
        y = np.asarray(self.y, np.float64)
        return np.where(np.isfinite(y) & (y >= FLOOR), y, np.nan)


def all_of(folder: RunFolder, first: Any) -> list[Figure]:
    """Every figure of the experiment, from the measurements of one seed; none for a kind of sampler that was not
    measured.
    """
    flow = {each.method: each.curve("flow") for each in first.certificates if not each.stochastic}
    weak = {
        each.method: curve for each in first.certificates if each.stochastic and (curve := each.curve("weak")).steps
    }
    third_order = {
        str(between): [
            Line(formula, curve.steps, curve.errors, COLOURS[curve.stated]) for formula, curve in curves.items()
        ]
        for between, curves in first.third_order.items()
    }
    blue, orange = figures.COLOURS[:2]
    previous_timestep = {
        spacing: [
            Line("t − T//n", errors.counts, np.sqrt(np.mean(errors.formula, axis=1)).tolist(), orange, joined=False),
            Line("the grid", errors.counts, np.sqrt(np.mean(errors.grid, axis=1)).tolist(), blue),
        ]
        for spacing, errors in first.timesteps.items()
    }
    end_points = "error of end points"
    drawings = []
    if flow:
        caption = "Error against evaluations of every deterministic sampler; a colour is the order that theory states."
        drawings.append(_families(flow, folder.figure("flow_errors"), caption, y_label=end_points))
    if weak:
        caption = (
            "Weak error against evaluations of the stochastic samplers, exact on Gaussian data. "
            "Euler ancestral and SDE solvers of first order draw the curve of DDPM."
        )
        drawings.append(
            _families(weak, folder.figure("weak_errors"), caption, y_label="Wasserstein-2 distance of laws")
        )
    caption = "The third-order multistep method with its second difference right (exact) and as published."
    drawings.append(_panels(third_order, folder.figure("third_order"), caption, x_label="steps", y_label=end_points))
    caption = "DDIM's error where each step aims at the grid's next level, and at entry t − T//n."
    return [
        *drawings,
        _panels(previous_timestep, folder.figure("previous_timestep"), caption, x_label="steps", y_label=end_points),
    ]


def _families(curves: Mapping[Method, Curve], path: Path, caption: str, *, y_label: str) -> Figure:
    """A panel per family, over the curves of all others. Methods without a label are a labelled one's double."""
    labelled = {method: curve for method, curve in curves.items() if method.label}
    background = [Line("", curve.evaluations, curve.errors, figures.INK) for curve in labelled.values()]
    parts: dict[str, list[Line]] = {}
    for method, curve in labelled.items():
        line = Line(method.label, curve.evaluations, curve.errors, COLOURS[curve.stated])
        parts.setdefault(method.family, [*background]).append(line)
    orders = sorted({curve.stated for curve in labelled.values()}, key=lambda order: (order is None, order or 0))
    key = {"no order stated" if order is None else f"order {order:g}": COLOURS[order] for order in orders}
    return _panels(parts, path, caption, x_label="evaluations", y_label=y_label, key=key)


def _panels(
    parts: Mapping[str, Sequence[Line]],
    path: Path,
    caption: str,
    *,
    x_label: str,
    y_label: str,
    key: Mapping[str, str] | None = None,
) -> Figure:
    """One log-log plot per title, at most three in a row, all on the same axes. key: what the colours mean, by name."""
    from matplotlib.lines import Line2D  # here, since loading it takes half a second

    across = min(3, len(parts))
    down = -(-len(parts) // across)
    figure = plots.blank(3.3 * across + 0.4, 2.9 * down + (0.4 if key else 0.1))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    named = [line for lines in parts.values() for line in lines if line.name]
    x, y = np.concatenate([line.x for line in named]), np.concatenate([line.visible for line in named])
    limits = (0.8 * x.min(), x.max() * (x.max() / x.min()) ** 0.32), (np.nanmin(y) / 2, 2 * np.nanmax(y))
    for axes, (title, lines) in zip(grid, parts.items(), strict=False):
        plots.style(axes, title, size=9.5, ticks=8)
        axes.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
        for line in lines:
            look: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.22, "zorder": 1}
            if line.name:
                marker = "o" if len(line.x) <= 12 or not line.joined else None
                look = {"linewidth": 1.6 if line.joined else 0, "marker": marker, "markersize": 2.6, "zorder": 3}
            axes.plot(line.x, line.visible, color=line.colour, **look)
        _name_ends(axes, [line for line in lines if line.name], np.log(limits[1]))
    for axes in grid[len(parts) :]:
        axes.set_axis_off()
    figure.supxlabel(x_label, color=figures.INK, fontsize=9)
    figure.supylabel(y_label, color=figures.INK, fontsize=9)
    if key:
        handles = [Line2D([], [], color=colour, linewidth=2.4, label=name) for name, colour in key.items()]
        figure.legend(handles=handles, ncols=len(key), **plots.LEGEND)
    return plots.save(figure, path, caption)


def _name_ends(axes: Any, lines: Sequence[Line], span: np.ndarray) -> None:
    """Names to the right of the last points, moved apart where their heights lie close together."""
    last = [
        (line, int(np.flatnonzero(np.isfinite(line.visible))[-1])) for line in lines if np.isfinite(line.visible).any()
    ]
    ends = [((np.log(line.y[k]) - span[0]) / (span[1] - span[0]), line.x[k], line) for line, k in last]
    ends.sort(key=lambda end: end[0])
    for position, (_, x, line) in zip(_apart([position for position, _, _ in ends]), ends, strict=True):
        height = float(np.exp(span[0] + position * (span[1] - span[0])))
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
    moved += max(0.0, 0.02 - np.min(moved, initial=1.0))
    return moved - max(0.0, np.max(moved, initial=0.0) - 0.98)
