"""Plots with intervals: curves, bars, and small multiples of curves that share an axis. Each returns its results.Figure.

Everything is drawn on a transparent ground in tones that read on white and on black, so that one file serves light and dark pages.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.core import files
from gendiff.runs.reporting.results import Figure
from gendiff.runs.reporting.verdicts import Number

COLOURS = ("#3b82c4", "#e0822b", "#2a9d6f", "#9b6bd0", "#d1495b", "#8a8f98")
INK = "#78818f"
DASHED: Any = {"linewidth": 1.2, "linestyle": (0, (4, 3)), "color": INK}
LEGEND: Any = {"frameon": False, "labelcolor": INK, "fontsize": 9}

FEW_DECADES = 2.5
"""Of a logarithmic axis: over no more than these, 2 and 5 have a label too."""

Limits = Sequence[tuple[str, float]]
"""Thresholds, which are drawn as dashed lines: (label, value)."""


@dataclass(frozen=True)
class Curve:
    """A line (t,) over x (t,), with an optional interval low…high (t,) around it. NaN leaves a gap."""

    label: str
    x: Any
    y: Any
    low: Any = None
    high: Any = None

    @property
    def finite(self) -> np.ndarray:
        """Those of y that are finite numbers."""
        y = np.asarray(self.y, np.float64)
        return y[np.isfinite(y)]


@dataclass(frozen=True)
class Panel:
    """One of several small plots: what it shows, its curves and thresholds."""

    title: str
    series: Sequence[Curve]
    thresholds: Limits = ()


def curves(
    series: Sequence[Curve],
    path: Path,
    caption: str,
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    thresholds: Limits = (),
) -> Figure:
    """PNG line plot of the series, each with its interval as a band. Raises ValueError without a finite point."""
    figure, axes = _lines(series, path.name, y_label, log_y, thresholds)
    return _finish(figure, axes, path, caption, x_label, log_x, legend=len(series) + len(thresholds) > 1)


def framed(
    series: Sequence[Curve],
    title: str,
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    thresholds: Limits = (),
) -> np.ndarray:
    """(442, 702, 3) uint8 of the plot that `curves` draws, on white below a title, for an explorer. Raises as `curves` does."""
    figure, axes = _lines(series, title, y_label, log_y, thresholds)
    _end(axes, x_label, log_x, legend=len(series) + len(thresholds) > 1)
    style(axes, title)
    figure.set_dpi(130)
    figure.set_facecolor("white")
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def small_multiples(panels: Sequence[Panel], path: Path, caption: str, *, x_label: str, columns: int = 1, log_x: bool = False) -> Figure:
    """PNG of one small plot a panel over the same x axis, such as adherence, diversity and saturation over the guidance scale.

    A curve has one colour in all panels, by its label, and the labels stand once, above. columns: 1 puts the panels below each other, which
    a phone can show; more make a wide picture. Raises ValueError without panels or columns, and for a panel without a finite point.
    """
    if not panels or columns < 1:
        raise ValueError(f"{len(panels)} panels in {columns} columns: at least one of each is needed")
    if empty := [panel.title for panel in panels if not any(curve.finite.size for curve in panel.series)]:
        raise ValueError(f"small multiples for {path.name}: panel {empty[0]!r} holds no finite point")
    across, down = min(columns, len(panels)), math.ceil(len(panels) / columns)
    labels = list(dict.fromkeys(curve.label for panel in panels for curve in panel.series))
    legend_height = 0.3 * math.ceil(len(labels) / (2 * across)) if len(labels) > 1 else 0.0
    figure = blank(4.6 if across == 1 else 3.6 * across, 0.5 + 1.5 * down + legend_height)
    grid = figure.subplots(down, across, sharex=True, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        style(axes, panel.title, size=10)
        for curve in panel.series:
            _draw(axes, curve, labels.index(curve.label))
        for _, value in panel.thresholds:
            axes.axhline(value, **DASHED)
        named = ", ".join(label for label, _ in panel.thresholds)
        # beside a line it would hide a curve
        axes.set_title(plain_text(f"╌╌ {named}" if named else ""), color=INK, loc="right", fontsize=8)
    for axes in grid if log_x else ():
        make_logarithmic(axes, "x")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[len(panels) - across : len(panels)]:  # the lowest of each column, which need not be in the last row
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(plain_text(x_label), color=INK)
    if len(labels) > 1:
        lines = {line.get_label(): line for axes in grid for line in axes.get_lines()}
        figure.legend(handles=[lines[label] for label in labels], loc="outside upper left", ncols=2 * across, **LEGEND)
    return save(figure, path, caption)


def bars(
    numbers: Mapping[str, Number | float], path: Path, caption: str, *, x_label: str, log: bool = False, thresholds: Limits = ()
) -> Figure:
    """PNG of one horizontal bar a label, first on top, with its interval, if any, as a whisker. Raises ValueError without a number."""
    if not numbers:
        raise ValueError(f"bars for {path.name}: at least one number is needed")
    figure, axes = _axes(height=1.1 + 0.34 * len(numbers))
    rows = np.arange(len(numbers))
    values = [number[0] if isinstance(number, tuple) else number for number in numbers.values()]
    axes.barh(rows, values, height=0.62, color=COLOURS[0], alpha=0.5, linewidth=0)
    for row, number in zip(rows, numbers.values(), strict=True):
        if isinstance(number, tuple):
            axes.plot(number[1:], [row, row], color=COLOURS[0], linewidth=2.6, solid_capstyle="butt")
    for place, (label, value) in enumerate(thresholds, 1):
        axes.axvline(value, label=label, **DASHED | {"color": COLOURS[place], "linewidth": 1.4})
    axes.set_yticks(rows, list(map(plain_text, numbers)))
    axes.set_ylim(len(numbers) - 0.5, -0.5)  # the first on top, and no more room for many bars than for few
    axes.grid(visible=False, axis="y")
    if thresholds:
        figure.legend(loc="outside upper left", ncols=len(thresholds), **LEGEND)  # inside it would lie on a bar
    return _finish(figure, axes, path, caption, x_label, log, legend=False)


def blank(width: float, height: float) -> Any:
    """A transparent figure of that size in inches."""
    # here, since loading it takes half a second that no other command should wait
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)  # never pyplot: its figures are global state
    return figure


def style(axes: Any, title: str = "", size: float = 11, ticks: float = 9) -> None:
    """The look that all plots share. size, ticks: of the title's and the numbers' letters, in points."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=INK, alpha=0.22, linewidth=0.8)
    axes.tick_params(which="both", colors=INK, length=0, labelsize=ticks)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(plain_text(title), color=INK, loc="left", fontsize=size, fontweight="bold")


def save(figure: Any, path: Path, caption: str) -> Figure:
    """Writes the PNG of Matplotlib's figure."""
    # no Software entry: the same numbers give the same bytes under any version
    with files.replacing(path) as file:
        figure.savefig(file, format="png", transparent=True, metadata={"Software": None})
    return Figure(path.name, caption)


def make_logarithmic(axes: Any, axis: str) -> None:
    """Makes the x or the y axis logarithmic, with its numbers as people write them: 0.04, 20, 1e21."""
    from matplotlib.ticker import FuncFormatter

    axes.set(**{f"{axis}scale": "log"})
    line = getattr(axes, f"{axis}axis")

    def between_decades(x: float, _: Any) -> str:
        low, high = line.get_view_interval()
        decades = abs(math.log10(high / low))
        digit = round(x / 10 ** math.floor(math.log10(x) + 1e-9))
        return plain_number(x) if decades <= 0.5 or (decades <= FEW_DECADES and digit in (2, 5)) else ""

    line.set_major_formatter(FuncFormatter(plain_number))
    line.set_minor_formatter(FuncFormatter(between_decades))


def plain_number(x: float, _: Any = None) -> str:
    """The number of a tick as people write it: 1e21, not 1e+21."""
    return re.sub(r"e\+0*", "e", f"{x:g}")


def plain_text(text: str) -> str:
    """The text for Matplotlib, which would read what stands between two dollar signs as a formula."""
    return text.replace("$", r"\$")


def _lines(series: Sequence[Curve], name: str, y_label: str, log_y: bool, thresholds: Limits) -> tuple[Any, Any]:
    if not any(curve.finite.size for curve in series):
        raise ValueError(f"curves for {name} hold no finite point")
    figure, axes = _axes(height=3.4)
    for number, curve in enumerate(series):
        _draw(axes, curve, number)
    for label, value in thresholds:
        axes.axhline(value, label=label, **DASHED)
    if log_y:
        make_logarithmic(axes, "y")
    axes.set_ylabel(y_label, color=INK)
    return figure, axes


def _axes(height: float) -> tuple[Any, Any]:
    figure = blank(5.4, height)
    axes = figure.add_subplot()
    style(axes)
    return figure, axes


def _finish(figure: Any, axes: Any, path: Path, caption: str, x_label: str, log_x: bool, legend: bool) -> Figure:
    _end(axes, x_label, log_x, legend)
    return save(figure, path, caption)


def _end(axes: Any, x_label: str, log_x: bool, legend: bool) -> None:
    if log_x:
        make_logarithmic(axes, "x")
    axes.set_xlabel(x_label, color=INK)
    if legend:
        axes.legend(**LEGEND)


def _draw(axes: Any, curve: Curve, number: int) -> None:
    """number: of the curve, which gives its colour; those beyond the colours are dotted, with square marks."""
    colour, again = COLOURS[number % len(COLOURS)], number >= len(COLOURS)
    marks = {"marker": "s" if again else "o", "markersize": 4} if len(np.atleast_1d(curve.x)) <= 24 else {}
    axes.plot(curve.x, curve.y, color=colour, linewidth=1.8, linestyle=":" if again else "-", label=curve.label, **marks)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
