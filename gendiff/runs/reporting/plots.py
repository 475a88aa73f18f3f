"""Plots with intervals: curves, bars, and small multiples of curves that share an axis. Each returns its
results.Figure.

Everything is drawn on a transparent ground in tones that read on white and on black, so that one file serves light and
dark pages. Legends stand above the axes, where they hide no curve. No plot is higher than 1,400 pixels.
"""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from gendiff.core import files
from gendiff.runs.reporting.results import Figure
from gendiff.runs.reporting.verdicts import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLOURS = ("#3b82c4", "#e0822b", "#2a9d6f", "#9b6bd0", "#d1495b", "#94714a")
INK = "#78818f"
Look = dict[str, Any]  # keywords of Matplotlib, each of its own type
DASHED: Look = {"linewidth": 1.2, "linestyle": (0, (4, 3)), "color": INK}
OTHERS: Look = {"linewidth": 1.0, "color": INK, "alpha": 0.35}
LEGEND: Look = {"loc": "outside upper left", "frameon": False, "labelcolor": INK, "fontsize": 9}
TALLEST = 7.0
"""Inches of the highest plot, at 200 pixels per inch."""
SERIES = len(COLOURS)
"""Curves that one plot can show; more of them get a plot each."""
DIGITS = ((1.0, (1, 2, 3, 4, 5, 7)), (2.5, (1, 2, 5)), (math.inf, (1,)))
"""Of a logarithmic axis: over no more than so many decades, the first digits of its ticks."""

Limits = Sequence[tuple[str, float]]
"""Thresholds, which are drawn as dashed lines: (label, value)."""


@dataclass(frozen=True)
class Curve:
    """A line (t,) over x (t,), with an optional interval low…high (t,) around it. NaN leaves a gap.

    reference: whether it is what others are held against: dashed, in grey.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    reference: bool = field(default=False, kw_only=True)

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
    """PNG line plot of the series, each with its interval as a band. Raises ValueError without a finite point.

    More than six series that are no reference get a small plot each, with the others in grey behind it.
    """
    if sum(not curve.reference for curve in series) > SERIES:
        return _facets(series, path, caption, x_label, y_label, log_x, log_y, thresholds)
    figure, axes = _lines(series, path.name, x_label, y_label, log_x, log_y, thresholds)
    return save(figure, path, caption)


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
    """(442, 702, 3) uint8 of the plot that `curves` draws, on white below a title, for an explorer. Raises as `curves`
    does.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure, axes = _lines(series, title, x_label, y_label, log_x, log_y, thresholds)
    style(axes, title)
    figure.set_size_inches(5.4, 3.4)
    figure.set_dpi(130)
    figure.set_facecolor("white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def small_multiples(
    panels: Sequence[Panel],
    path: Path,
    caption: str,
    *,
    x_label: str,
    columns: int = 1,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """PNG of one small plot a panel over the same x axis, such as adherence, diversity and saturation over the guidance
    scale.

    A curve has one colour in all panels, by its label, and the labels stand once, above. columns: 1 puts the panels
    below each other, which a phone can show; more make a wide picture. Raises ValueError without panels or columns, and
    for a panel without a finite point.
    """
    if not panels or columns < 1:
        raise ValueError(f"{len(panels)} panels in {columns} columns: at least one of each is needed")
    if empty := [panel.title for panel in panels if not any(curve.finite.size for curve in panel.series)]:
        raise ValueError(f"small multiples for {path.name}: panel {empty[0]!r} holds no finite point")
    labels = list(dict.fromkeys(curve.label for panel in panels for curve in panel.series))
    figure, grid = _panels(len(panels), columns, labels if len(labels) > 1 else [])
    for axes, panel in zip(grid, panels, strict=False):
        style(axes, panel.title, size=10)
        for curve in panel.series:
            _draw(axes, curve, labels.index(curve.label))
        for _, value in panel.thresholds:
            axes.axhline(value, **DASHED)
        named = ", ".join(label for label, _ in panel.thresholds)
        # beside a line it would hide a curve
        axes.set_title(plain_text(f"╌╌ {named}" if named else ""), color=INK, loc="right", fontsize=8)
        if log_y:
            make_logarithmic(axes, "y")
    if len(labels) > 1:
        lines = {line.get_label(): line for axes in grid for line in axes.get_lines()}
        figure.legend(handles=[lines[plain_text(label)] for label in labels], ncols=_columns(labels, figure), **LEGEND)
    _label_panels(grid[: len(panels)], x_label, log_x)
    return save(figure, path, caption)


def bars(
    numbers: Mapping[str, Number | float | Mapping[str, Number | float]],
    path: Path,
    caption: str,
    *,
    x_label: str,
    log: bool = False,
    thresholds: Limits = (),
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Figure:
    """PNG of one row per label, first on top: a number as a dot with a bar and with its interval, if any, as a whisker.

    A label may have a mapping instead of a number: then each of its series has a dot in the row, in a colour of its
    own. A logarithmic axis has no zero where a bar could begin, so it shows dots alone. within: what a number can be,
    such as 0 and 1 for a share; an interval over few seeds may leave it, and its whisker ends there. Raises ValueError
    without a number.
    """
    if not numbers:
        raise ValueError(f"bars for {path.name}: at least one number is needed")
    rows = [number if isinstance(number, Mapping) else {"": number} for number in numbers.values()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    labels = [*(names if names != [""] else []), *(label for label, _ in thresholds)]
    figure = blank(5.4, 1.0)
    across = _columns(labels, figure)
    around = 0.6 + 0.26 * math.ceil(len(labels) / across)
    pitch = min(max(0.34, 0.15 * len(names)), (TALLEST - around) / len(rows))
    figure.set_size_inches(5.4, around + pitch * len(rows))
    axes = figure.add_subplot()
    letters = min(9.0, 44 * pitch)
    style(axes)
    for series, name in enumerate(names):
        away = min(0.26, 0.85 / len(names)) * (series - (len(names) - 1) / 2)  # of the middle of the row
        look: Look = {"color": COLOURS[series % SERIES], "label": plain_text(name) or None}
        heights = [index + away for index, row in enumerate(rows) if name in row]
        ends = [
            number if isinstance(number, tuple) else (number,) * 3
            for number in (row[name] for row in rows if name in row)
        ]
        values = [value for value, _, _ in ends]
        for height, (_, low, high) in zip(heights, ends, strict=True):
            axes.plot(np.clip([low, high], *within), [height, height], linewidth=1.6, **look | {"label": None})
        if names == [""] and not log:
            axes.barh(heights, values, height=0.62, alpha=0.3, linewidth=0, **look | {"label": None})
        axes.plot(values, heights, "o", markersize=min(5.0, 24 * pitch), clip_on=False, zorder=3, **look)
    if names == [""]:
        look = {"color": INK, "fontsize": letters, "va": "center", "transform": axes.get_yaxis_transform()}
        for index, value in enumerate(values):
            axes.text(1.03, index, plain_number(float(f"{value:.3g}")), **look)
    for number, (label, value) in enumerate(thresholds, len(names)):
        axes.axvline(
            value,
            label=plain_text(label),
            **DASHED | {"color": COLOURS[number % SERIES], "linewidth": 1.4, "zorder": 1},
        )
    axes.set_yticks(range(len(rows)), list(map(plain_text, numbers)), fontsize=letters)
    axes.set_ylim(len(rows) - 0.5, -0.5)  # the first on top, and no more room for many rows than for few
    axes.grid(visible=log or names != [""], axis="y")
    if log:
        make_logarithmic(axes, "x")
    axes.set_xlabel(plain_text(x_label), color=INK)
    if labels:
        figure.legend(ncols=across, **LEGEND)
    return save(figure, path, caption)


def blank(width: float, height: float) -> "Canvas":
    """A transparent figure of that size in inches."""
    # here, since loading it takes half a second that no other command should wait
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)  # never pyplot: its figures are global state
    return figure


def style(axes: "Axes", title: str = "", size: float = 11, ticks: float = 9) -> None:
    """The look that all plots share. size, ticks: of the title's and the numbers' letters, in points."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=INK, alpha=0.22, linewidth=0.8)
    axes.tick_params(which="both", colors=INK, length=0, labelsize=ticks)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        room = _inches(axes) - 0.45  # beside the numbers of the y axis
        text = textwrap.fill(plain_text(title), max(1, int(room * 72 / (0.58 * size))))
        axes.set_title(text, color=INK, loc="left", fontsize=size, fontweight="bold")


def save(figure: "Canvas", path: Path, caption: str) -> Figure:
    """Writes the PNG of Matplotlib's figure."""
    # no Software entry: the same numbers give the same bytes under any version
    with files.replacing(path) as file:
        figure.savefig(file, format="png", transparent=True, metadata={"Software": None})
    return Figure(path.name, caption)


def make_logarithmic(axes: "Axes", axis: str) -> None:
    """Makes the x or the y axis of what is drawn already logarithmic, with numbers as people write them: 0.04, 20,
    1e21.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set(**{f"{axis}scale": "log"})
    line = getattr(axes, f"{axis}axis")
    low, high = sorted(line.get_view_interval())
    room = _inches(axes) if axis == "x" else math.inf
    line.set_major_locator(
        LogLocator(subs=next(digits for most, digits in DIGITS if _fits(low, high, most, digits, room)))
    )
    line.set_minor_locator(NullLocator())
    line.set_major_formatter(FuncFormatter(plain_number))


def _inches(axes: "Axes") -> float:
    """The width that a plot has of its figure."""
    figure: Any = axes.figure  # never a part of a figure, as Matplotlib's types allow
    return float(figure.get_figwidth()) / getattr(axes.get_gridspec(), "ncols", 1)


def _fits(low: float, high: float, most: float, digits: Sequence[int], room: float) -> bool:
    """Whether ticks with these first digits suit an axis: it has at most so many decades, and room for the numbers, in
    inches.
    """
    if len(digits) == 1:
        return True
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [digit * 10.0**decade for decade in decades for digit in digits]
    letters = [len(plain_number(number)) + 1.5 for number in numbers if low <= number <= high]
    return math.log10(high / low) <= most and 0.08 * sum(letters) <= 0.85 * room


def plain_number(x: float, _: object = None) -> str:
    """The number of a tick as people write it: 1e21, 1e-7 and 2.5e-4, not 1e+21, 1e-07 and 0.00025."""
    text = f"{x:g}"
    if text.startswith(("0.000", "-0.000")):
        text = re.sub(r"\.?0+e", "e", f"{x:e}")
    return re.sub(r"e(-?)\+?0*", r"e\1", text)


def plain_text(text: str) -> str:
    """The text for Matplotlib, which would read what stands between two dollar signs as a formula."""
    return text.replace("$", r"\$")


def _lines(
    series: Sequence[Curve], name: str, x_label: str, y_label: str, log_x: bool, log_y: bool, thresholds: Limits
) -> tuple["Canvas", "Axes"]:
    _check_finite(series, name)
    labels = [curve.label for curve in series] + [label for label, _ in thresholds]
    figure = blank(5.4, 3.4)
    across = _columns(labels, figure)
    axes = figure.add_subplot()
    style(axes)
    for number, curve in enumerate(series):
        _draw(axes, curve, number)
    for label, value in thresholds:
        axes.axhline(value, label=plain_text(label), **DASHED)
    for axis in "x" * log_x + "y" * log_y:
        make_logarithmic(axes, axis)
    axes.set_xlabel(plain_text(x_label), color=INK)
    axes.set_ylabel(plain_text(y_label), color=INK)
    if len(labels) > 1:
        figure.legend(ncols=across, **LEGEND)
        figure.set_size_inches(5.4, 3.4 + 0.24 * math.ceil(len(labels) / across))
    return figure, axes


def _facets(
    series: Sequence[Curve],
    path: Path,
    caption: str,
    x_label: str,
    y_label: str,
    log_x: bool,
    log_y: bool,
    thresholds: Limits,
) -> Figure:
    """A small plot per curve, with the same axes, the references, and the other curves in grey."""
    from matplotlib.lines import Line2D

    _check_finite(series, path.name)
    references, others = ([curve for curve in series if curve.reference is which] for which in (True, False))
    labels = [
        "the others",
        *(plain_text(label) for label in [curve.label for curve in references] + [name for name, _ in thresholds]),
    ]
    looks = [OTHERS, *[DASHED] * (len(labels) - 1)]
    figure, grid = _panels(len(others), 2 if len(others) <= 8 else 3, labels, sharey=True)
    for axes, curve in zip(grid, others, strict=False):
        style(axes, curve.label, size=10)
        for other in others:
            axes.plot(other.x, other.y, **OTHERS)
        for _, value in thresholds:
            axes.axhline(value, **DASHED)
        for number, each in enumerate((curve, *references)):
            _draw(axes, each, number)
    if log_y:
        make_logarithmic(grid[0], "y")
    _label_panels(grid[: len(others)], x_label, log_x)
    figure.supylabel(plain_text(y_label), color=INK, fontsize=10)
    handles = [Line2D([], [], label=label, **look) for label, look in zip(labels, looks, strict=True)]
    figure.legend(handles=handles, ncols=_columns(labels, figure), **LEGEND)
    return save(figure, path, caption)


def _check_finite(series: Sequence[Curve], name: str) -> None:
    if not any(curve.finite.size for curve in series):
        raise ValueError(f"curves for {name} hold no finite point")


def _panels(count: int, columns: int, labels: Sequence[str], *, sharey: bool = False) -> tuple["Canvas", list["Axes"]]:
    """A figure and its axes, row by row, of which those beyond the count are hidden. labels: of the legend above."""
    across, down = min(columns, count), math.ceil(count / columns)
    figure = blank({1: 4.6, 2: 6.0}.get(across, 2.5 * across), TALLEST)
    rows = math.ceil(len(labels) / _columns(labels, figure))
    figure.set_figheight(min(TALLEST, 0.5 + 1.5 * down + 0.26 * rows))
    grid = list(figure.subplots(down, across, sharex=True, sharey=sharey, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid


def _label_panels(grid: Sequence["Axes"], x_label: str, log_x: bool) -> None:
    """The x axis, with numbers below the lowest panel of each column, which need not be in the last row."""
    if log_x:
        make_logarithmic(grid[0], "x")
    for axes in grid[-getattr(grid[0].get_gridspec(), "ncols", 1) :]:
        axes.tick_params(labelbottom=True)
    grid[0].figure.supxlabel(plain_text(x_label), color=INK, fontsize=10)


def _columns(labels: Sequence[str], figure: "Canvas") -> int:
    """Columns of a legend that the figure has room for; it is filled column by column."""
    for rows in range(1, len(labels) + 1):
        widths = [0.55 + 0.075 * max(map(len, labels[first : first + rows])) for first in range(0, len(labels), rows)]
        if sum(widths) <= figure.get_figwidth():
            return len(widths)
    return 1


def _draw(axes: "Axes", curve: Curve, number: int) -> None:
    """number: of the curve, which gives its colour; those beyond the colours are dotted, with square marks."""
    again = number >= SERIES
    look: Look = {"color": COLOURS[number % SERIES], "linewidth": 1.8, "linestyle": ":" if again else "-"}
    if curve.reference:
        look = DASHED
    elif len(np.atleast_1d(curve.x)) <= 24:
        look |= {"marker": "s" if again else "o", "markersize": 4}
    axes.plot(curve.x, curve.y, label=plain_text(curve.label), **look)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.x, curve.low, curve.high, color=look["color"], alpha=0.2, linewidth=0)
