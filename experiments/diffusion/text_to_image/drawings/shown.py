"""What the part on drawings shows: pictures first, then curves, a gallery under sliders, and tables."""

from collections.abc import Sequence

import numpy as np

from experiments.diffusion import sweeps
from experiments.diffusion.captioned_emoji import COLOURS, GALLERY
from experiments.diffusion.text_to_image.drawings import answers as drawn
from experiments.diffusion.text_to_image.drawings.answers import SEEN, SETS, UNSEEN, Answers
from gendiff.commands.text_to_image.config import Config
from gendiff.data import emoji
from gendiff.runs.reporting import figures as draw
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.results import Axis, Cell, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder

NAMES = {"retrieved": "most like own drawing", "clipped": "clipped fraction", "contrast": "RMS contrast"}
"""Every measure, and what figures and tables call it."""
NEAREST = 8
"""Pictures beside their nearest training drawings."""
PALETTE = 128
"""Colours of the gallery's file."""


def figures(config: Config, folder: RunFolder, answers: Answers) -> tuple[Figure, ...]:
    """Pictures and curves, left in the folder."""
    names = ((SEEN, "emoji_seen"), (UNSEEN, "emoji_unseen"))
    grids = [_asked(config, folder, answers, name, file) for name, file in names]
    caption = "Emoji: every measure against the guidance scale; bands reach from the least to the largest seed."
    of = {name: answers.sweeps[name] for name in (SEEN, UNSEEN)}
    curves = sweeps.curves(NAMES, folder, "emoji_curves", caption, of, "guidance scale w")
    return (*grids, _combinations(folder, answers), _nearest(folder, answers), curves)


def explorers(config: Config, folder: RunFolder, answers: Answers) -> tuple[Explorer, ...]:
    """Prompts that are no captions, under sliders for guidance and steps."""
    axes = (Axis("guidance", config.drawings.scales), Axis("steps", config.explored_steps))
    start, place = (answers.best, len(config.explored_steps) - 1), folder.figure("emoji_gallery")
    caption = f"Emoji from the same noise: {_listed(GALLERY)}"
    return (draw.explorer(answers.explored, axes, place, caption, start=start, columns=4, colours=PALETTE),)


def tables(config: Config, answers: Answers) -> tuple[Table, ...]:
    """Every number of the part."""
    rows: list[tuple[Cell, ...]] = []
    for name in SETS:
        of = answers.sweeps[name]
        for place, scale in enumerate(of.scales):
            means = {measure: np.mean([table[place] for table in of.tables[measure]], axis=0) for measure in NAMES}
            rows.append((name, scale, *(intervals.interval(np.mean, mean) for mean in means.values())))
    for name, control in (
        ("not trained", answers.untrained),
        ("decoded drawings", answers.decoded),
        ("mean drawing", answers.mean),
        ("in one step", answers.one_step),
    ):
        rows.append((name, "", *(intervals.interval(np.mean, control[measure]) for measure in NAMES)))
    return (Table("Emoji, by guidance scale, mean over the seeds", ("of", "w", *NAMES.values()), tuple(rows)),)


def _asked(config: Config, folder: RunFolder, answers: Answers, name: str, file: str) -> Figure:
    """The drawings that were asked for above what was drawn, one guidance scale per row."""
    asked = answers.asked[name]
    rows = drawn.shown_rows(len(asked), config.shown)
    images = np.concatenate([asked.images[rows], *answers.shown[name]])
    scales = ", ".join(f"{scale:g}" for scale in config.drawings.scales)
    listed = _listed([asked.captions[row] for row in rows])
    caption = f"Emoji, {name}: above the drawings, below one guidance scale per row, w = {scales}. {listed} {emoji.ATTRIBUTION}."
    names = ["drawings", *(f"w = {scale:g}" for scale in config.drawings.scales)]
    heads = [asked.captions[row] for row in rows]
    return draw.grid(images, len(rows), folder.figure(file), caption, rows=names, heads=heads, colours=256)


def _combinations(folder: RunFolder, answers: Answers) -> Figure:
    """Pairs of pictures from the same noise: without the colour, and with it."""
    count = min(3 * len(COLOURS), len(answers.asked_combinations))
    without, with_word = (pictures[:count] for pictures in answers.combinations)
    images = np.stack([without, with_word], axis=1).reshape(-1, *with_word.shape[1:])
    caption = (
        f"Emoji, combinations that no caption has: left without the colour, right with it. {_listed(answers.asked_combinations[:count])}"
    )
    return draw.grid(images, 2 * len(COLOURS), folder.figure("emoji_combinations"), caption)


def _nearest(folder: RunFolder, answers: Answers) -> Figure:
    """The pictures of held-out captions that stand out most as copies."""
    report = answers.copies
    order = np.argsort(report.ratios, kind="stable")[:NEAREST]
    beside = np.stack([answers.unseen[order], *(answers.training.images[report.nearest[order, place]] for place in range(2))], axis=1)
    count = f"{len(report.copies)} of {len(report.ratios)} are near-copies"
    listed = _listed([answers.asked[UNSEEN].captions[row] for row in order])
    caption = (
        f"Emoji, held-out captions: the pictures that stand out most as copies; right of each its two nearest training drawings. {count}."
    )
    return draw.grid(beside.reshape(-1, *beside.shape[2:]), 6, folder.figure("emoji_nearest"), f"{caption} {listed}")


def _listed(captions: Sequence[str]) -> str:
    return "; ".join(f"{number}: {text}" for number, text in enumerate(captions, 1)) + "."
