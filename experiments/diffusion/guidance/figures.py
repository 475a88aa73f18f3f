"""What the guidance experiment shows: trade-off curves, the same samples at every scale, and pictures under sliders."""

from collections.abc import Mapping

import numpy as np

from experiments.diffusion.guidance.config import Config
from experiments.diffusion.guidance.cures import Sweep
from experiments.diffusion.guidance.measures import MEASURES, NAMES
from experiments.diffusion.guidance.sets import DrawnSets
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures as draw
from experiments.reporting.results import Axis, Explorer, Figure

PALETTE = 128
"""Colours of an explorer's file."""


def figures(config: Config, folder: RunFolder, drawn: DrawnSets) -> tuple[Figure, ...]:
    """Curves and pictures, left in the folder."""
    shown = []
    scales = ", ".join(f"{scale:g}" for scale in config.scales)
    for subject, plain in drawn.plain.items():
        _curves(folder, f"curves_{subject}", {subject: plain}, "guidance scale w")
        caption = "every measure against the guidance scale; bands reach from the least to the largest seed."
        shown.append(Figure(f"curves_{subject}.png", f"{subject.capitalize()}: {caption}"))
    for subject, images in drawn.shown.items():
        draw.grid(images.reshape(-1, *images.shape[2:]), images.shape[1], folder.figure(f"pictures_{subject}"))
        caption = f"the same ten samples in each column, one guidance scale per row: w = {scales}."
        shown.append(Figure(f"pictures_{subject}.png", f"{subject.capitalize()}: {caption}".replace("ten", str(images.shape[1]))))
    rules = {"plain": drawn.short.of([scale for scale in drawn.short.scales if 1 <= scale <= config.strong]), **drawn.cures}
    _curves(folder, "cures", {name: of for name, of in rules.items() if name != "CFG++"}, "scale")
    _curves(folder, "dropouts", {f"dropout {share:g}": of for share, of in drawn.dropouts.items()}, "guidance scale w")
    return (
        *shown,
        Figure("cures.png", "Digits: plain guidance and its cures (CFG++, whose scale ends at 1, is in the tables)."),
        Figure("dropouts.png", "Digits: the share of labels dropped in training, one network each."),
    )


def explorers(config: Config, folder: RunFolder, drawn: DrawnSets) -> tuple[Explorer, ...]:
    """Sliders for guidance, steps and seed."""
    axes = (Axis("guidance", config.scales), Axis("steps", config.explored_steps), Axis("seed", config.seeds))
    start = (config.scales.index(config.moderate), len(config.explored_steps) - 1, 0)
    shown = []
    for subject, images in drawn.explored.items():
        name = f"explore_{subject}"
        draw.explorer_sprite(images, folder.figure(name), columns=8, colours=PALETTE)
        shown.append(Explorer(f"{name}.png", f"{subject.capitalize()}: samples from the same noise.", axes, start))
    return tuple(shown)


def _curves(folder: RunFolder, name: str, sweeps: Mapping[str, Sweep], x_label: str) -> None:
    panels = []
    for measure in MEASURES:
        lines = []
        for label, sweep in sweeps.items():
            means = np.stack([table.mean(axis=1) for table in sweep.tables[measure]])
            lines.append(draw.Curve(label, np.array(sweep.scales), means.mean(axis=0), means.min(axis=0), means.max(axis=0)))
        panels.append(draw.Panel(NAMES[measure], lines))
    draw.small_multiples(panels, folder.figure(name), x_label=x_label, columns=1)
