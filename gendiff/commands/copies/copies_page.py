"""What copies.html shows: pictures in the page, and the shares as a table."""

import base64
from collections.abc import Sequence

import numpy as np

from gendiff.commands.copies.findings import Share
from gendiff.data.images import image_files
from gendiff.runs.reporting import formatting

LARGEST = 256
"""Pixels of the longer side of a picture that is shown: larger ones are shrunk."""
SMALL = 128
"""Pixels of a side up to which they are shown as squares."""


def embedded(image: np.ndarray) -> dict[str, object]:
    """A picture (h, w, c) uint8 as the template takes it."""
    from PIL import Image

    if max(image.shape[:2]) > LARGEST:
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        picture.thumbnail((LARGEST, LARGEST))
        image = np.asarray(picture).reshape(picture.height, picture.width, image.shape[2])
    data = base64.b64encode(image_files.to_png("a picture", image)).decode("ascii")
    return {"data": f"data:image/png;base64,{data}", "squares": max(image.shape[:2]) <= SMALL}


def shares(rows: Sequence[Share], *, beside: bool) -> dict[str, object]:
    """A table of `findings.Share`, in percent. beside: whether there are held-out rows."""
    columns = ["", "n", "near-copies, %"] + (["held-out, %", "difference"] if beside else [])
    measured = [(each.rate, each.held_out_rate, each.excess) for each in rows]
    texts = [[_cell(number) for number in each[: 3 if beside else 1]] for each in measured]
    return {
        "columns": columns,
        "rows": [[(each.name, ""), (str(each.n), ""), *cells] for each, cells in zip(rows, texts, strict=True)],
    }


def _cell(number: tuple[float, float, float] | None) -> tuple[str, str]:
    if number is None:
        return "", ""
    value, low, high = (100 * each for each in number)
    return formatting.number(value, 1), formatting.interval(low, high, 1)
