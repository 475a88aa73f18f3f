"""A plot of curves that one number tells apart, such as losses over sizes at several budgets: points, fits and marked
minima.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gendiff.runs.reporting import plots
from gendiff.runs.reporting.plots import Look
from gendiff.runs.reporting.results import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure as Canvas

TONES = ("#3b82c4", "#9b6bd0", "#d1495b", "#e0822b")
"""From the smallest number to the largest; all of them read on white and on black."""


@dataclass(frozen=True)
class Member:
    """One curve of the family: points (n,), the fit through them (m,), if any, and a mark on it, if any.

    number: what tells it apart, above 0, which gives it its colour.
    """

    number: float
    x: ArrayLike
    y: ArrayLike
    fit_x: ArrayLike = ()
    fit_y: ArrayLike = ()
    mark: tuple[float, float] | None = None


def families(
    members: Sequence[Member],
    path: Path,
    caption: str,
    *,
    x_label: str,
    y_label: str,
    number_label: str,
    marks: str = "",
    log_y: bool = False,
) -> Figure:
    """PNG of all members over a logarithmic x axis, coloured by their numbers; a line joins the marks, called `marks`.

    Up to six numbers stand in a legend, more of them at a bar of colours.

    Raises ValueError without members, and for a number that is not above 0.
    """
    if not members or min(member.number for member in members) <= 0:
        raise ValueError(f"families for {path.name}: at least one member is needed, and numbers above 0")
    figure = plots.blank(5.8, 3.8)
    axes = figure.add_subplot()
    plots.style(axes)
    scale, few = colours([member.number for member in members]), len(members) <= plots.SERIES
    ordered = sorted(members, key=lambda member: member.number)
    for member in ordered:
        look: Look = {"color": scale.to_rgba(np.asarray(member.number)), "linewidth": 1.6}
        axes.plot(member.x, member.y, linestyle="none", marker="o", markersize=4, **look)
        axes.plot(
            member.fit_x, member.fit_y, label=plots.plain_number(float(f"{member.number:.2g}")) if few else None, **look
        )
    marked = np.array([member.mark for member in ordered if member.mark is not None])
    if len(marked):
        axes.plot(*marked.T, marker="D", markersize=5, label=plots.plain_text(marks), **plots.DASHED)
    if few:
        title: Look = {"title": plots.plain_text(number_label), "title_fontsize": 9, "alignment": "left"}
        figure.legend(ncols=4, **title, **plots.LEGEND).get_title().set_color(plots.INK)
    elif len(marked):
        figure.legend(**plots.LEGEND)
    plots.make_logarithmic(axes, "x")
    if log_y:
        plots.make_logarithmic(axes, "y")
    axes.set_xlabel(plots.plain_text(x_label), color=plots.INK)
    axes.set_ylabel(plots.plain_text(y_label), color=plots.INK)
    if not few:
        colour_bar(figure, axes, scale, number_label)
    return plots.save(figure, path, caption)


def colours(numbers: Sequence[float]) -> "ScalarMappable":
    """Matplotlib's map from numbers above 0 to colours, by their logarithm."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    low, high = min(numbers), max(numbers)
    return ScalarMappable(
        LogNorm(low, high if high > low else 2 * low), LinearSegmentedColormap.from_list("tones", TONES)
    )


def colour_bar(figure: "Canvas", axes: "Axes", scale: "ScalarMappable", label: str) -> None:
    """Beside the axes, in the look of all plots."""
    bar = figure.colorbar(scale, ax=axes, pad=0.02, aspect=30)
    plots.make_logarithmic(bar.ax, "y")
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", colors=plots.INK, length=0, labelsize=8)
    bar.set_label(plots.plain_text(label), color=plots.INK, fontsize=9)
