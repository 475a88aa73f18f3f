"""Pictures of a run: grids of images, the frames of denoising, the pictures of an explorer, and the plots of `plots`.

What no image covers is transparent, so that one file serves light and dark pages.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gendiff.core import files
from gendiff.core.types import ArrayLike
from gendiff.runs.reporting.plots import COLOURS as COLOURS
from gendiff.runs.reporting.plots import INK as INK
from gendiff.runs.reporting.plots import Curve as Curve
from gendiff.runs.reporting.plots import Panel as Panel
from gendiff.runs.reporting.plots import bars as bars
from gendiff.runs.reporting.plots import curves as curves
from gendiff.runs.reporting.plots import framed as framed
from gendiff.runs.reporting.plots import small_multiples as small_multiples
from gendiff.runs.reporting.results import Axis, Explorer, Figure

if TYPE_CHECKING:
    from PIL import ImageFont

WIDE, TALL = 900, 1400
"""Pixels that a sheet is at least wide and at most high, as far as whole factors of its images let it."""


def to_pixels(images: ArrayLike, levels: int = 256) -> np.ndarray:
    """uint8 (…) of images (…): floats in [-1, 1], clipped, or whole numbers 0…levels − 1.

    Raises ValueError for a value that is not finite (a cast would show it as black), for whole numbers outside the
    range, and for floats that hold unscaled pixels.
    """
    array = np.asarray(images)
    if np.issubdtype(array.dtype, np.integer):
        if array.size and (array.min() < 0 or array.max() >= levels):
            raise ValueError(
                f"images hold whole numbers in [{array.min()}, {array.max()}], outside [0, {levels - 1}]: give their "
                "levels"
            )
        return np.round(array * (255.0 / (levels - 1))).astype(np.uint8)
    array = array.astype(np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        where = np.unique(np.argwhere(bad)[:, 0]).tolist() if array.ndim else [0]
        listed = ", ".join(map(str, where[:5])) + (", …" if len(where) > 5 else "")
        raise ValueError(
            f"images of shape {array.shape} have {int(bad.sum())} values that are not finite, in images {listed}"
        )
    if array.size and array.min() >= 0 and array.max() > 1 and np.array_equal(array, np.round(array)):
        got = f"whole numbers in [{array.min():g}, {array.max():g}] as floats"
        raise ValueError(f"images hold {got}: scale them to [-1, 1], or pass integers and levels")
    pixels: np.ndarray = np.round((np.clip(array, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
    return pixels


def grid(
    images: ArrayLike,
    columns: int,
    path: Path,
    caption: str,
    *,
    levels: int = 256,
    scale: int | None = None,
    gap: int = 4,
    ground: int | None = None,
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    entries: Mapping[str, str] | None = None,
    colours: int | None = None,
) -> Figure:
    """PNG of images (n, h, w), (n, h, w, 1) or (n, h, w, 3) in rows of `columns`, each enlarged `scale` times.

    Values as in `to_pixels`. scale: None for the least that makes the sheet 900 pixels wide, but none that makes it
    higher than 1,400. gap: pixels between images; ground: their grey, 0…255, None for transparent ones. rows, heads:
    names beside the rows and above the columns. entries: text entries of the file by their names. colours: of a
    palette, as for `explorer`. Raises ValueError for names that do not match.
    """
    _check_colours(colours)
    pixels = _with_channels(to_pixels(images, levels))
    if columns < 1 or (scale is not None and scale < 1):
        raise ValueError(f"scale = {scale} and columns = {columns} must be at least 1")
    across, down = min(columns, len(pixels)), math.ceil(len(pixels) / columns)
    for names, count, what in ((rows, down, "rows"), (heads, across, "columns")):
        if names and len(names) != count:
            raise ValueError(f"{len(names)} names for {count} {what}: give one each, or none")
    for factor in range(scale or math.ceil((WIDE - (across - 1) * gap) / (across * pixels.shape[2])), 0, -1):
        sheet = _tiled(pixels.repeat(factor, axis=1).repeat(factor, axis=2), columns, gap, ground)
        if rows or heads:
            sheet = _named(sheet, rows, heads, ground)
        if scale or len(sheet) <= TALL:
            break
    _save(sheet, path, entries, colours)
    return Figure(path.name, caption)


def named_rows(rows: Mapping[str, np.ndarray], path: Path, caption: str, **options: Any) -> Figure:
    """`grid` with a row of images for each name, equally many. options: further ones of `grid`."""
    images = list(rows.values())
    return grid(np.concatenate(images), len(images[0]), path, caption, rows=list(rows), **options)


def denoising_sprite(
    trajectory: ArrayLike, path: Path, *, columns: int | None = None, labels: Sequence[str] = (), levels: int = 256
) -> Path:
    """PNG that holds every frame of a trajectory (t, n, h, w, c), noise first, for the report's scrubber (name it
    denoising.png).

    A frame is the grid of n images at one level, in their own pixels. labels: a text a frame, such as "log-SNR −3.2".
    Frames lie row by row on a sheet; its layout stands in the PNG's text entry "frames".
    Raises ValueError as `to_pixels` does, and for labels that do not match the frames.
    """
    pixels = to_pixels(trajectory, levels)
    if pixels.ndim != 5 or 0 in pixels.shape:
        raise ValueError(f"trajectory must be (t, n, h, w, c) with no empty axis, got shape {pixels.shape}")
    if labels and len(labels) != len(pixels):
        raise ValueError(f"{len(labels)} labels for {len(pixels)} frames: give one a frame, or none")
    return _sprite(pixels, path, columns, labels)


def explorer(
    pictures: ArrayLike,
    axes: Sequence[Axis],
    path: Path,
    caption: str,
    *,
    start: Sequence[int] = (),
    columns: int | None = None,
    levels: int = 256,
    colours: int | None = None,
) -> Explorer:
    """PNG that holds a picture for every place of the axes of a results.Explorer: pictures (*axes, n, h, w, c).

    A picture is the grid of n images in rows of `columns`, in their own pixels, so the explorer is small; values as in
    `to_pixels`. colours: of a palette for the whole file (2…256, one of them the ground), for a file that is too
    large otherwise: 256 leave about a quarter of noisy colour images; None keeps every colour. Raises ValueError as
    `to_pixels` does, without an axis, and for such `colours`.
    """
    pixels = to_pixels(pictures, levels)
    if pixels.ndim < 5 or 0 in pixels.shape:
        raise ValueError(
            f"pictures must be (*axes, n, h, w, c) with at least one axis and none empty, got shape {pixels.shape}"
        )
    _check_colours(colours)
    result = Explorer(path.name, caption, tuple(axes), tuple(start))
    _sprite(pixels.reshape(-1, *pixels.shape[-4:]), path, columns, colours=colours)
    return result


def letters(size: int) -> "ImageFont.FreeTypeFont":
    """PIL's font of that height in pixels: the one of the plots, which has the letters of most languages."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def broken(text: str, width: float, font: "ImageFont.FreeTypeFont") -> str:
    """The words in lines that are at most `width` pixels long in PIL's font, where a word does not exceed it alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _sprite(
    pixels: np.ndarray, path: Path, columns: int | None, labels: Sequence[str] = (), colours: int | None = None
) -> Path:
    """Frames of (t, n, h, w, c) on one sheet, row by row, with the layout that the report reads in the text entry
    "frames".
    """
    count, images = pixels.shape[:2]
    across = min(images, columns or math.ceil(math.sqrt(images * 1.6)))
    frames = np.stack([_tiled(_with_channels(frame), across, gap=1) for frame in pixels])
    # nearly square: browsers limit the longer side
    sheet_columns = max(1, round(math.sqrt(count * frames.shape[1] / frames.shape[2])))
    layout = {
        "count": count,
        "width": frames.shape[2],
        "height": frames.shape[1],
        "columns": sheet_columns,
        "labels": list(labels),
    }
    return _save(_tiled(frames, sheet_columns, gap=0), path, {"frames": json.dumps(layout)}, colours)


def _with_channels(pixels: np.ndarray) -> np.ndarray:
    with_axis = pixels[..., None] if pixels.ndim == 3 else pixels
    if with_axis.ndim != 4 or with_axis.shape[-1] not in (1, 3) or 0 in with_axis.shape:
        raise ValueError(
            f"images must be (n, h, w), (n, h, w, 1) or (n, h, w, 3) with no empty axis, got shape {pixels.shape}"
        )
    return with_axis


def _tiled(images: np.ndarray, columns: int, gap: int, ground: int | None = None) -> np.ndarray:
    """(rows, cols, c + 1) of images (n, h, w, c) or, with their opacity already, (n, h, w, c + 1); what no image covers
    is transparent.
    """
    count, height, width, channels = images.shape
    if channels in (1, 3):
        images = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1)
    across, down = min(columns, count), math.ceil(count / columns)
    sheet = np.zeros((down * (height + gap) - gap, across * (width + gap) - gap, images.shape[-1]), np.uint8)
    if ground is not None:
        sheet[..., :-1], sheet[..., -1] = ground, 255
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _named(sheet: np.ndarray, rows: Sequence[str], heads: Sequence[str], ground: int | None) -> np.ndarray:
    """The sheet (h, w, c + 1) with names to the left of its rows and above its columns, in lines no longer than their
    place.
    """
    from PIL import Image, ImageDraw

    height, width, channels = sheet.shape
    size = min(28, max(18, round(width / 42)))
    font = letters(size)
    wide, tall = width / max(1, len(heads)), height / max(1, len(rows))
    beside = [broken(name, 12 * size if tall > 2.4 * size else width, font) for name in rows]
    above = [broken(name, 0.94 * wide, font) for name in heads]
    left = max((math.ceil(font.getlength(line)) + size // 2 for name in beside for line in name.split("\n")), default=0)
    top = max((math.ceil(1.3 * size) * (name.count("\n") + 1) for name in above), default=0)
    mask = Image.new("L", (left + width, top + height))
    pen = ImageDraw.Draw(mask)
    for number, name in enumerate(beside):
        pen.multiline_text((left - size // 2, top + (number + 0.5) * tall), name, 255, font, anchor="rm", align="right")
    for number, name in enumerate(above):
        pen.multiline_text(
            (left + (number + 0.5) * wide, top - 0.2 * size), name, 255, font, anchor="md", align="center"
        )
    canvas = np.zeros((top + height, left + width, channels), np.uint8)
    ink = [int(INK[at : at + 2], 16) for at in (1, 3, 5)]
    canvas[..., :-1], canvas[..., -1] = ink if channels == 4 else round(np.mean(ink)), np.asarray(mask)
    if ground is not None:
        share = canvas[..., -1:] / 255
        canvas[..., :-1], canvas[..., -1] = np.round(share * canvas[..., :-1] + (1 - share) * ground), 255
    canvas[top:, left:] = sheet
    return canvas


def _check_colours(colours: int | None) -> None:
    if colours is not None and not 2 <= colours <= 256:
        raise ValueError(f"colours = {colours} must lie in [2, 256], or be None")


def _save(pixels: np.ndarray, path: Path, entries: Mapping[str, str] | None = None, colours: int | None = None) -> Path:
    """entries: texts by their names, such as the layout of a sprite. colours: of the palette, if any."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    information = PngInfo()
    for name, text in (entries or {}).items():
        information.add_itxt(name, text)
    if colours is None:
        opaque = bool((pixels[..., -1] == 255).all())  # then L or RGB, which more programs read
        image = (
            np.squeeze(pixels[..., :-1], -1)
            if opaque and pixels.shape[-1] == 2
            else pixels[..., :-1]
            if opaque
            else pixels
        )
        with files.replacing(path) as file:
            Image.fromarray(image).save(file, format="PNG", optimize=True, pnginfo=information)
        return path
    nearest = (
        Image.fromarray(pixels)
        .convert("RGB")
        .quantize(colours - 1, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    )
    clear = colours - 1  # the last entry of the palette is no colour but where no image is
    indexed = Image.fromarray(np.where(pixels[..., -1] > 127, np.asarray(nearest), clear).astype(np.uint8))
    palette = (nearest.getpalette() or [])[: 3 * clear]
    indexed.putpalette(palette + [0] * (3 * colours - len(palette)))
    with files.replacing(path) as file:
        indexed.save(file, format="PNG", optimize=True, pnginfo=information, transparency=clear)
    return path
