"""A plot of a surface over two logarithmic axes: its contours, paths on it, and places with names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from gendiff.runs.reporting import families, plots
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure


def contours(
    x: np.ndarray,
    y: np.ndarray,
    heights: np.ndarray,
    path: Path,
    caption: str,
    *,
    x_label: str,
    y_label: str,
    levels: Sequence[float],
    paths: Sequence[Curve] = (),
    dashed: Sequence[Curve] = (),
    places: Mapping[str, tuple[float, float]] | None = None,
    dots: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """PNG of the contours of heights (len(y), len(x)) at the levels, which rise, with their numbers.

    paths: lines with a legend. dashed: thin lines whose label stands at their upper end. places: names by (x, y), each
        a dot. dots: (x, y)
    of many without a name.
    Raises ValueError where the heights do not fit x and y, or without levels.
    """
    surface = np.asarray(heights, np.float64)
    if surface.shape != (len(y), len(x)) or not len(levels):
        raise ValueError(
            f"contours for {path.name}: heights {surface.shape} of {len(y)} and {len(x)} places at {len(levels)} levels"
        )
    figure = plots.blank(5.8, 5.0)
    axes = figure.add_subplot()
    plots.style(axes)
    scale = families.colours(levels)
    lines = axes.contour(
        x,
        y,
        surface,
        levels=list(levels),
        colors=[scale.to_rgba(np.asarray(level)) for level in levels],
        linewidths=1.1,
    )
    axes.clabel(lines, fmt="%g", fontsize=7)
    for line in dashed:
        axes.plot(line.x, line.y, **plots.DASHED | {"linewidth": 0.8, "alpha": 0.7})
        across, up = np.asarray(line.x), np.asarray(line.y)
        inside = (up <= y[-1]) & (up >= y[0])
        if inside.any():
            at = np.flatnonzero(inside)[np.argmax(up[inside])]
            axes.annotate(
                plots.plain_text(line.label),
                (across[at], up[at]),
                color=plots.INK,
                fontsize=7,
                annotation_clip=True,
            )
    for number, line in enumerate(paths):
        axes.plot(
            line.x,
            line.y,
            color=plots.COLOURS[number % len(plots.COLOURS)],
            linewidth=2.2,
            label=plots.plain_text(line.label),
        )
    if dots is not None:
        axes.plot(*dots, linestyle="none", marker="o", markersize=2.4, color=plots.INK, alpha=0.8)
    for name, position in (places or {}).items():
        axes.plot(*position, marker="o", markersize=4.5, color=plots.INK)
        axes.annotate(
            plots.plain_text(name),
            position,
            xytext=(5, 4),
            textcoords="offset points",
            color=plots.INK,
            fontsize=8,
            fontweight="bold",
        )
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    for axis in "xy":
        plots.make_logarithmic(axes, axis)
    axes.set_xlabel(plots.plain_text(x_label), color=plots.INK)
    axes.set_ylabel(plots.plain_text(y_label), color=plots.INK)
    if paths:
        figure.legend(ncols=2, **plots.LEGEND)  # inside it would lie on a place
    return plots.save(figure, path, caption)
