"""Rows of pictures above their captions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gendiff.core import files
from gendiff.runs.reporting import figures

GAP = 4
"""Pixels between pictures."""
BELOW = 14
"""Pixels between a caption and the next row."""
SIZE = 16
"""Pixels of the letters."""


def grid(
    rows: np.ndarray, captions: Sequence[str], path: Path, *, scale: int = 1, entries: Mapping[str, str] | None = None
) -> None:
    """PNG of pictures (r, n, h, w, 3), each row of n above its caption; values as in `figures.to_pixels`.

    A caption is broken between words where it is wider than its row. scale: how many times pictures are
    enlarged. entries: text entries of the file by their names. Raises ValueError unless there is a caption for each
    row.
    """
    from PIL import Image, ImageDraw
    from PIL.PngImagePlugin import PngInfo

    if len(rows) != len(captions):
        raise ValueError(f"{len(captions)} captions for {len(rows)} rows: give one each")
    pixels = figures.to_pixels(rows).repeat(scale, axis=2).repeat(scale, axis=3)
    _, count, height, side, _ = pixels.shape
    width, font = count * (side + GAP) + GAP, figures.letters(SIZE)
    texts = [figures.broken(caption, width - 2 * GAP, font) for caption in captions]
    line = SIZE + 4
    heights = [GAP + height + GAP + line * text.count("\n") + line + BELOW for text in texts]
    sheet = Image.new("RGB", (width, sum(heights)), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for row, text, taken in zip(pixels, texts, heights, strict=True):
        for number, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture), (GAP + number * (side + GAP), top + GAP))
        pen.multiline_text((GAP, top + 2 * GAP + height), text, fill="black", font=font, spacing=4)
        top += taken
    information = PngInfo()
    for name, text in (entries or {}).items():
        information.add_itxt(name, text)
    with files.replacing(path) as file:
        sheet.save(file, format="PNG", optimize=True, pnginfo=information)
