"""The parts of report.html whose sliders choose a picture out of a sprite: explorers and the steps of denoising.

The sheet lies in an SVG whose viewBox is the chosen picture, so that one picture is seen even where no script runs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.reporting import formatting
from experiments.reporting.report_sections import caption, data_uri, escape, figure
from experiments.reporting.results import Axis, Explorer
from gendiff.core.errors import DataError

LONGEST_SCALE = 44
"""Letters for which all values of a slider fit below it on a phone; of a longer scale only the ends are written."""
SCRUBBER_CAPTION = "From noise (left) to samples (right); the arrow keys move one step."


def explorers(folder: Path, shown: Sequence[Explorer], numbers: Mapping[str, int]) -> str:
    """A picture with a slider an axis. Raises DataError for a sprite without its layout, or of another size than the axes."""
    boxes = [_explorer(folder / each.file, each, numbers[each.file]) for each in shown]
    return f'<section><h2>Explore</h2><div class="stack">{"".join(boxes)}</div></section>' if boxes else ""


def scrubbers(paths: Sequence[Path], numbers: Mapping[str, int]) -> str:
    """A slider over the frames of each sprite that figures.denoising_sprite made. Raises DataError for a PNG without its layout."""
    boxes = [_scrubber(path, numbers[path.name]) for path in paths]
    return f'<section><h2>Denoising</h2><div class="stack">{"".join(boxes)}</div></section>' if boxes else ""


def _explorer(path: Path, explorer: Explorer, number: int) -> str:
    layout = _sprite_layout(path)
    sizes = [len(axis.values) for axis in explorer.axes]
    if layout["count"] != math.prod(sizes):
        raise DataError(f"{path}: holds {layout['count']} pictures for axes of {' × '.join(map(str, sizes))} values; one each is needed")
    strides = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    first = sum(start * stride for start, stride in zip(explorer.start, strides, strict=True))
    axes = "".join(
        _slider(axis, start, stride, f"figure-{number}-axis-{place}")
        for place, (axis, start, stride) in enumerate(zip(explorer.axes, explorer.start, strides, strict=True))
    )
    chosen = ", ".join(f"{axis.label} {_text(axis.values[start])}" for axis, start in zip(explorer.axes, explorer.start, strict=True))
    still = f'<p class="note unscripted">The sliders need JavaScript. Shown is {escape(chosen)}.</p>'
    return (
        f"{figure('explorer', number)}{_picture(path, layout, first, explorer.caption)}"
        f'<div class="axes">{axes}</div>{still}{caption(explorer.caption, number)}</figure>'
    )


def _slider(axis: Axis, start: int, stride: int, id: str) -> str:
    texts = [escape(_text(value)) for value in axis.values]
    label, chosen = escape(axis.label), f'<output for="{id}" aria-live="off">{texts[start]}</output>'
    if len(texts) == 1:
        return f'<div class="axis"><div class="name"><span>{label}</span>{chosen}</div></div>'
    options = "".join(f'<option value="{index}" label="{text}"></option>' for index, text in enumerate(texts))
    all_fit = len(texts) * 2 + sum(map(len, texts)) <= LONGEST_SCALE
    marks = "".join(f"<span>{text}</span>" for text in (texts if all_fit else (texts[0], texts[-1])))
    return (
        f'<div class="axis"><div class="name"><label for="{id}">{label}</label>{chosen}</div>'
        f'<input type="range" id="{id}" min="0" max="{len(texts) - 1}" value="{start}" step="1" autocomplete="off" '
        f'list="{id}-values" data-stride="{stride}" aria-valuetext="{texts[start]}"><datalist id="{id}-values">{options}</datalist>'
        f'<div class="{"marks" if all_fit else "marks ends"}" aria-hidden="true">{marks}</div></div>'
    )


def _scrubber(path: Path, number: int) -> str:
    layout = _sprite_layout(path)
    last = layout["count"] - 1
    return (
        f'<figure id="figure-{number}" class="scrubber" data-labels="{escape(json.dumps(layout["labels"]))}">'
        f"{_picture(path, layout, last, 'samples at the chosen step')}"
        f'<div class="controls"><button type="button">Play</button>'
        f'<input type="range" min="0" max="{last}" value="{last}" step="1" autocomplete="off" aria-label="denoising step">'
        f'<output aria-live="off">step {last} of {last}</output></div>{caption(SCRUBBER_CAPTION, number)}</figure>'
    )


def _picture(path: Path, layout: dict[str, Any], shown: int, said: str) -> str:
    width, height, columns = layout["width"], layout["height"], layout["columns"]
    rows = math.ceil(layout["count"] / columns)
    left, top = shown % columns * width, shown // columns * height
    return (
        f'<svg class="sprite" viewBox="{left} {top} {width} {height}" style="--ratio:{width / height:.4f}" data-columns="{columns}" '
        f'role="img" aria-label="{escape(said)}"><image width="{columns * width}" height="{rows * height}" href="{data_uri(path)}"/></svg>'
    )


def _text(value: str | int | float) -> str:
    return value if isinstance(value, str) else formatting.setting(value)


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
