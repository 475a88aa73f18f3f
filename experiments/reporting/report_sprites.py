"""Pictures of the report whose sliders choose one out of a sprite: explorers and the steps of denoising, as the template shows them.

The sheet lies in an SVG whose viewBox is the chosen picture, so that one picture is seen even where no script runs.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.reporting import formatting
from experiments.reporting.results import Explorer
from gendiff.core.errors import DataError

LONGEST_SCALE = 44
"""Letters for which all values of a slider fit below it on a phone; of a longer scale only the ends are written."""
SCRUBBER_CAPTION = "From noise (left) to samples (right). The arrow keys move one step."


def explorer(path: Path, shown: Explorer, number: int, data_uri: Callable[[Path], str]) -> dict[str, Any]:
    """A picture with a slider per axis. Raises DataError for a sprite without its layout, or of another size than the axes."""
    layout = _sprite_layout(path)
    sizes = [len(axis.values) for axis in shown.axes]
    if layout["count"] != math.prod(sizes):
        raise DataError(f"{path}: holds {layout['count']} pictures for axes of {' × '.join(map(str, sizes))} values; one each is needed")
    axes, first = [], 0
    for place, (axis, start) in enumerate(zip(shown.axes, shown.start, strict=True)):
        texts = [value if isinstance(value, str) else formatting.setting(value) for value in axis.values]
        stride = math.prod(sizes[place + 1 :])
        first += start * stride
        axes.append(
            {
                "id": f"figure-{number}-axis-{place}",
                "label": axis.label,
                "texts": texts,
                "text": texts[start],
                "start": start,
                "stride": stride,
                "all_fit": len(texts) * 2 + sum(map(len, texts)) <= LONGEST_SCALE,
            }
        )
    chosen = ", ".join(f"{axis['label']} {axis['text']}" for axis in axes)
    return _picture(path, layout, first, data_uri) | {"number": number, "caption": shown.caption, "axes": axes, "chosen": chosen}


def scrubber(path: Path, number: int, data_uri: Callable[[Path], str]) -> dict[str, Any]:
    """A slider over the frames of a sprite that figures.denoising_sprite made. Raises DataError for a PNG without its layout."""
    layout = _sprite_layout(path)
    last, labels = layout["count"] - 1, json.dumps(layout["labels"])
    return _picture(path, layout, last, data_uri) | {"number": number, "caption": SCRUBBER_CAPTION, "last": last, "labels": labels}


def _picture(path: Path, layout: dict[str, Any], shown: int, data_uri: Callable[[Path], str]) -> dict[str, Any]:
    width, height, columns = layout["width"], layout["height"], layout["columns"]
    left, top = shown % columns * width, shown // columns * height
    rows = math.ceil(layout["count"] / columns)
    return {"left": left, "top": top, "width": width, "height": height, "columns": columns, "rows": rows, "data": data_uri(path)}


def _sprite_layout(path: Path) -> dict[str, Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()  # text entries may stand after the pixels
            layout = json.loads(image.text["frames"])  # type: ignore[attr-defined]
            labels = [str(label) for label in layout["labels"]]
            return {name: int(layout[name]) for name in ("count", "width", "height", "columns")} | {"labels": labels}
    except (OSError, UnidentifiedImageError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: is no sprite of frames with its layout; make it with figures.denoising_sprite or explorer_sprite ({error})"
        ) from error
