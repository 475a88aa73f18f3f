"""What the text-to-image study shows: curves against the scale, pictures of prompts and drawings, and galleries under
sliders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.diffusion import sweeps
from experiments.diffusion.captioned_emoji import COLOURS, GALLERY, Pictures
from experiments.diffusion.sweeps import Sweep
from experiments.diffusion.text_to_image import drawings, sets
from experiments.diffusion.text_to_image.drawings import SEEN, UNSEEN
from gendiff.data import emoji
from gendiff.runs.reporting import figures as draw
from gendiff.runs.reporting.results import Axis, Explorer, Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements

NAMES: Mapping[str, str] = {
    "accuracy": "shown exactly",
    "vendi": "Vendi score of one prompt",
    "retrieved": "most like own drawing",
    "clipped": "clipped fraction",
    "contrast": "RMS contrast",
    "named": "noun and colour, to the classifier",
    "alike": "most like its drawing, by squares",
    "both": "both judges",
}
"""Every measure, and what figures and tables call it."""
NEAREST = 8
"""Pictures beside their nearest training drawings."""
PALETTE = 128
"""Colours of the galleries' files."""


def curves(measured: Measurements, folder: RunFolder) -> Figure:
    """Of scenes, every measure."""
    arrays = _arrays(measured, "judged")
    sweep, of_seen = arrays["of"][sets.HELD_OUT].sweep, arrays["of"][sets.SEEN].sweep
    held_out = Sweep(sweep.scales, {**sweep.tables, **arrays["diversity"].tables})
    return _curves(
        "curves", "Every measure against the guidance scale", {"held out": held_out, "seen": of_seen}, folder
    )


def encoders(measured: Measurements, folder: RunFolder) -> Figure:
    """Of scenes, by encoder."""
    answers = _arrays(measured, "judged")["of"]
    panels = {
        "frozen": answers[sets.HELD_OUT].sweep.seed(0),
        "from scratch": answers[sets.SCRATCH].sweep,
        "shuffled": answers[sets.SHUFFLED].sweep,
    }
    names, caption = (
        {"accuracy": "held-out prompts shown exactly"},
        "The encoder, and what its captions say; the first seed.",
    )
    return sweeps.curves(names, folder, "encoders", caption, panels, "guidance scale w")


def pictures(measured: Measurements, folder: RunFolder) -> Figure:
    """Of scenes, one guidance scale per row."""
    arrays = _arrays(measured, "judged")
    held_out, panels = arrays["of"][sets.HELD_OUT], arrays["shown"]
    count, scales = panels.shape[1], held_out.sweep.scales
    listed = _listed(held_out.prompts.captions[:count])
    caption = f"One held-out prompt per column, one guidance scale per row: w = {_scales(scales)}. {listed}"
    rows, heads = [f"w = {scale:g}" for scale in scales], [str(number + 1) for number in range(count)]
    return draw.grid(np.concatenate(panels), count, folder.figure("pictures"), caption, rows=rows, heads=heads)


def gallery(measured: Measurements, folder: RunFolder) -> Explorer:
    """Held-out prompts under sliders for guidance and steps."""
    arrays = _arrays(measured, "judged")
    held_out, count = arrays["of"][sets.HELD_OUT], arrays["explored"].shape[2]
    caption = f"Held-out prompts from the same noise. {_listed(held_out.prompts.captions[:count])}"
    return _gallery("gallery", caption, held_out.sweep.scales, arrays["of"][sets.SEEN].best, arrays, folder)


def emoji_asked(name: str, file: str, measured: Measurements, folder: RunFolder) -> Figure:
    """The drawings whose captions were asked for above what was drawn, one guidance scale per row."""
    arrays = _arrays(measured, "emoji")
    prompts, scales, panels = arrays["asked"][name], arrays["swept"][name].scales, arrays["shown"][name]
    rows = drawings.shown_rows(len(prompts), panels.shape[1])
    heads = [prompts.captions[row] for row in rows]
    listed = f"{_listed(heads)} {_attributions(prompts)}."
    caption = f"Emoji, {name}: above the drawings, below one guidance scale per row, w = {_scales(scales)}. {listed}"
    names = ["drawings", *(f"w = {scale:g}" for scale in scales)]
    images = np.concatenate([prompts.images[rows], *panels])
    return draw.grid(images, len(rows), folder.figure(file), caption, rows=names, heads=heads, colours=256)


def emoji_combinations(measured: Measurements, folder: RunFolder) -> Figure:
    """Pairs of pictures from the same noise: without the colour, and with it."""
    prompts, pairs = _arrays(measured, "emoji")["combinations"]
    count = min(3 * len(COLOURS), len(prompts))
    images = pairs[:, :count].swapaxes(0, 1).reshape(-1, *pairs.shape[2:])
    listed = _listed(prompts[:count])
    caption = f"Emoji, combinations that no caption has: left without the colour, right with it. {listed}"
    return draw.grid(images, 2 * len(COLOURS), folder.figure("emoji_combinations"), caption)


def emoji_ordinary(measured: Measurements, folder: RunFolder) -> Figure:
    """The first picture of each ordinary prompt."""
    arrays = _arrays(measured, "ordinary")
    agreed = [str(number) for number, both in enumerate(arrays["both"], 1) if both]
    caption = (
        f"Emoji, ordinary prompts. {_listed([prompt.text for prompt in arrays['prompts']])} Both judges say yes to "
        f"{len(agreed)} of {len(arrays['both'])}: {', '.join(agreed) or 'none'}."
    )
    return draw.grid(arrays["pictures"], 10, folder.figure("emoji_ordinary"), caption)


def emoji_nearest(measured: Measurements, folder: RunFolder) -> Figure:
    """The pictures of held-out captions that stand out most as copies."""
    arrays = _arrays(measured, "emoji")
    report, training = arrays["copies"], arrays["training"].images
    order = np.argsort(report.ratios, kind="stable")[:NEAREST]
    beside = np.stack([arrays["unseen"][order], *(training[report.nearest[order, rank]] for rank in range(2))], axis=1)
    count, captions = f"{len(report.copies)} of {len(report.ratios)}", arrays["asked"][UNSEEN].captions
    caption = (
        "Emoji, held-out captions: the pictures that stand out most as copies; right of each its two nearest training "
        f"drawings. {count} are near-copies. {_listed([captions[row] for row in order])} "
        f"{_attributions(arrays['training'])}."
    )
    return draw.grid(beside.reshape(-1, *beside.shape[2:]), 6, folder.figure("emoji_nearest"), caption)


def emoji_curves(measured: Measurements, folder: RunFolder) -> Figure:
    """Of emoji, every measure."""
    swept = {name: _arrays(measured, "emoji")["swept"][name] for name in (SEEN, UNSEEN)}
    return _curves("emoji_curves", "Emoji: every measure against the guidance scale", swept, folder)


def emoji_gallery(measured: Measurements, folder: RunFolder) -> Explorer:
    """Prompts that are no captions, under sliders for guidance and steps."""
    arrays = _arrays(measured, "emoji")
    scales, best = arrays["swept"][SEEN].scales, drawings.best_index(arrays["swept"])
    return _gallery("emoji_gallery", f"Emoji from the same noise: {_listed(GALLERY)}", scales, best, arrays, folder)


def _arrays(measured: Measurements, group: str) -> Mapping[str, Any]:
    return next(each.arrays for each in measured if each.group == group and each.arrays)


def _attributions(drawings: Pictures) -> str:
    return " · ".join(emoji.STYLES[style].attribution for style in dict.fromkeys(drawings.styles))


def _gallery(
    file: str, caption: str, scales: tuple[float, ...], best: int, arrays: Mapping[str, Any], folder: RunFolder
) -> Explorer:
    axes, start = (Axis("guidance", scales), Axis("steps", arrays["steps"])), (best, len(arrays["steps"]) - 1)
    return draw.explorer(
        arrays["explored"], axes, folder.figure(file), caption, start=start, columns=4, colours=PALETTE
    )


def _curves(file: str, caption: str, swept: Mapping[str, Sweep], folder: RunFolder) -> Figure:
    names = {
        measure: title for measure, title in NAMES.items() if any(measure in sweep.tables for sweep in swept.values())
    }
    return sweeps.curves(
        names, folder, file, f"{caption}; bands reach from the least to the largest seed.", swept, "guidance scale w"
    )


def _scales(scales: Sequence[float]) -> str:
    return ", ".join(f"{scale:g}" for scale in scales)


def _listed(captions: Sequence[str]) -> str:
    return "; ".join(f"{number}: {text}" for number, text in enumerate(captions, 1)) + "."
