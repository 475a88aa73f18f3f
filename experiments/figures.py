"""Pictures of a run: grids of images, plots with intervals, and the frames of denoising.

Everything is drawn on a transparent ground in tones that read on white and on black, so that one file serves light and dark pages.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.core.types import ArrayLike

COLOURS = ("#3b82c4", "#e0822b", "#2a9d6f", "#9b6bd0", "#d1495b", "#8a8f98")
INK = "#78818f"
TILE = 48
"""Side in pixels that a small image is enlarged to, by a whole factor."""


@dataclass(frozen=True)
class Curve:
    """A line (t,) over x (t,), with an optional interval low…high (t,) around it. NaN leaves a gap."""

    label: str
    x: Any
    y: Any
    low: Any = None
    high: Any = None


def to_pixels(images: ArrayLike, levels: int = 256) -> np.ndarray:
    """uint8 (…) of images (…): floats in [-1, 1], clipped, or whole numbers 0…levels − 1.

    Raises ValueError for a value that is not finite (a cast would show it as black), for whole numbers outside the range, and for floats
    that hold unscaled pixels.
    """
    array = np.asarray(images)
    if np.issubdtype(array.dtype, np.integer):
        if array.size and (array.min() < 0 or array.max() >= levels):
            raise ValueError(f"images hold whole numbers in [{array.min()}, {array.max()}], outside [0, {levels - 1}]: give their levels")
        return np.round(array * (255.0 / (levels - 1))).astype(np.uint8)
    array = array.astype(np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        where = np.unique(np.argwhere(bad)[:, 0]) if array.ndim else [0]
        raise ValueError(f"images of shape {array.shape} have {int(bad.sum())} values that are not finite, in images {_listed(where)}")
    if array.size and array.min() >= 0 and array.max() > 1 and np.array_equal(array, np.round(array)):
        raise ValueError(
            f"images hold whole numbers in [{array.min():g}, {array.max():g}] as floats: scale them to [-1, 1], or pass integers and levels"
        )
    return np.round((np.clip(array, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def grid(
    images: ArrayLike, columns: int, path: str | os.PathLike[str], *, levels: int = 256, scale: int | None = None, gap: int = 4
) -> Path:
    """PNG of images (n, h, w), (n, h, w, 1) or (n, h, w, 3) in rows of `columns`, each enlarged `scale` times (None: to about 48 pixels).

    Values as in `to_pixels`. gap: transparent pixels between images.
    """
    pixels = _with_channels(to_pixels(images, levels))
    factor = max(1, round(TILE / max(pixels.shape[1:3]))) if scale is None else scale
    if factor < 1 or columns < 1:
        raise ValueError(f"scale = {factor} and columns = {columns} must be at least 1")
    enlarged = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    return _save(_tiled(enlarged, columns, gap), path)


def denoising_sprite(
    trajectory: ArrayLike, path: str | os.PathLike[str], *, columns: int | None = None, labels: Sequence[str] = (), levels: int = 256
) -> Path:
    """PNG that holds every frame of a trajectory (t, n, h, w, c), noise first, for the report's scrubber (name it denoising.png).

    A frame is the grid of n images at one level, in their own pixels. labels: a text a frame, such as "log-SNR −3.2".
    Frames lie row by row on a sheet; its layout stands in the PNG's text entry "frames".
    Raises ValueError as `to_pixels` does, and for labels that do not match the frames.
    """
    pixels = to_pixels(trajectory, levels)
    if pixels.ndim != 5 or 0 in pixels.shape:
        raise ValueError(f"trajectory must be (t, n, h, w, c) with no empty axis, got shape {pixels.shape}")
    steps, images = pixels.shape[:2]
    if labels and len(labels) != steps:
        raise ValueError(f"{len(labels)} labels for {steps} frames: give one a frame, or none")
    across = min(images, columns or math.ceil(math.sqrt(images * 1.6)))
    frames = np.stack([_tiled(_with_channels(frame), across, gap=1) for frame in pixels])
    sheet_columns = max(1, round(math.sqrt(steps * frames.shape[1] / frames.shape[2])))  # nearly square: browsers limit the longer side
    layout = {"count": steps, "width": frames.shape[2], "height": frames.shape[1], "columns": sheet_columns, "labels": list(labels)}
    return _save(_tiled(frames, sheet_columns, gap=0), path, {"frames": json.dumps(layout)})


def curves(
    series: Sequence[Curve],
    path: str | os.PathLike[str],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    thresholds: Sequence[tuple[str, float]] = (),
) -> Path:
    """PNG line plot of the series, each with its interval as a band; thresholds (label, value) are dashed.

    Raises ValueError without a finite point.
    """
    if not any(np.isfinite(np.asarray(curve.y, np.float64)).any() for curve in series):
        raise ValueError(f"curves for {Path(path).name} hold no finite point")
    figure, axes = _axes(title, height=3.4)
    for number, curve in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        short = len(np.atleast_1d(curve.x)) <= 24
        axes.plot(curve.x, curve.y, color=colour, linewidth=1.8, marker="o" if short else None, markersize=4, label=curve.label)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    for label, value in thresholds:
        axes.axhline(value, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label=label)
    for axis, logarithmic in (("x", log_x), ("y", log_y)):
        _scale(axes, axis, logarithmic)
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    if len(series) + len(thresholds) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return _save_plot(figure, path)


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    path: str | os.PathLike[str],
    *,
    x_label: str,
    intervals: Sequence[tuple[float, float]] | None = None,
    title: str = "",
    log: bool = False,
    thresholds: Sequence[tuple[str, float]] = (),
) -> Path:
    """PNG of one horizontal bar a label, first on top, with its interval (low, high) as a whisker.

    Raises ValueError where the lengths differ.
    """
    if len(labels) != len(values) or not labels or (intervals is not None and len(intervals) != len(values)):
        ends = "" if intervals is None else f" and {len(intervals)} intervals"
        raise ValueError(f"{len(labels)} labels, {len(values)} values{ends}: one each, and at least one bar")
    figure, axes = _axes(title, height=1.1 + 0.34 * len(labels))
    rows = np.arange(len(labels))
    axes.barh(rows, values, height=0.62, color=COLOURS[0], alpha=0.5, linewidth=0)
    for row, (low, high) in zip(rows, intervals or (), strict=False):
        axes.plot([low, high], [row, row], color=COLOURS[0], linewidth=2.6, solid_capstyle="butt")
    for number, (label, value) in enumerate(thresholds):
        axes.axvline(value, color=COLOURS[1 + number], linewidth=1.4, linestyle=(0, (4, 3)), label=label)
    axes.set_yticks(rows, [_plain_text(label) for label in labels])
    axes.invert_yaxis()
    _scale(axes, "x", log)
    axes.set_xlabel(x_label, color=INK)
    axes.grid(visible=False, axis="y")
    if thresholds:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return _save_plot(figure, path)


def _axes(title: str, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import (
        FigureCanvasAgg,
    )  # here, since loading it takes half a second that no other command should wait
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)  # never pyplot: its figures are global state
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=INK, alpha=0.22, linewidth=0.8)
    axes.tick_params(which="both", colors=INK, length=0, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(_plain_text(title), color=INK, loc="left", fontsize=11, fontweight="bold")
    return figure, axes


def _scale(axes: Any, axis: str, logarithmic: bool) -> None:
    if not logarithmic:
        return
    from matplotlib.ticker import LogFormatter, StrMethodFormatter

    class Plain(LogFormatter):
        """0.04 where LogFormatter, which decides which ticks get a label, writes 4e-02."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axes.set(**{f"{axis}scale": "log"})
    line = axes.xaxis if axis == "x" else axes.yaxis
    line.set_major_formatter(StrMethodFormatter("{x:g}"))
    line.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(1.6, 0.5)))  # only where few decades are shown


def _save_plot(figure: Any, path: str | os.PathLike[str]) -> Path:
    # no Software entry: the same numbers give the same bytes under any version
    figure.savefig(path, format="png", transparent=True, metadata={"Software": None})
    return Path(path)


def _plain_text(text: str) -> str:
    return text.replace("$", r"\$")  # otherwise read as a formula


def _with_channels(pixels: np.ndarray) -> np.ndarray:
    with_axis = pixels[..., None] if pixels.ndim == 3 else pixels
    if with_axis.ndim != 4 or with_axis.shape[-1] not in (1, 3) or 0 in with_axis.shape:
        raise ValueError(f"images must be (n, h, w), (n, h, w, 1) or (n, h, w, 3) with no empty axis, got shape {pixels.shape}")
    return with_axis


def _tiled(images: np.ndarray, columns: int, gap: int) -> np.ndarray:
    """(rows, cols, c + 1) of images (n, h, w, c) or, with their opacity already, (n, h, w, c + 1); what no image covers is transparent."""
    count, height, width, channels = images.shape
    if channels in (1, 3):
        images = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1)
    across, down = min(columns, count), math.ceil(count / columns)
    sheet = np.zeros((down * (height + gap) - gap, across * (width + gap) - gap, images.shape[-1]), np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _save(pixels: np.ndarray, path: str | os.PathLike[str], texts: dict[str, str] | None = None) -> Path:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    information = PngInfo()
    for name, text in (texts or {}).items():
        information.add_itxt(name, text)
    Image.fromarray(pixels).save(path, format="PNG", optimize=True, pnginfo=information)
    return Path(path)


def _listed(numbers: Any) -> str:
    shown = ", ".join(str(int(number)) for number in numbers[:5])
    return shown + (", …" if len(numbers) > 5 else "")
