"""What the latent study shows: pictures of every part of training, curves against seconds, and costs by resolution."""

from typing import Any

import numpy as np

from experiments.diffusion.latent import costs
from experiments.diffusion.latent.networks import LATENTS, PIXELS
from experiments.diffusion.latent.sets import DECODED
from gendiff.data import emoji
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements

COSTS, WHOLE, DISTANCES = "costs", "whole", "distances"
"""Tables that figures show."""
WITHOUT, WITH = "without the autoencoder's training", "with the autoencoder's training"
"""Accounts of the time."""


def after(name: str, part: float) -> str:
    """The set of samples of a model after a part of its training."""
    return f"{name}, {part:g}"


def pictures(measured: Measurements, folder: RunFolder) -> Figure:
    """Of the first seed."""
    pictures_by_name: dict[str, Any] = {each.name: each.arrays["shown"] for each in measured if "shown" in each.arrays}
    samples = "samples of the pixel model after parts of its training, and those of the latent model"
    caption = f"Rows: held-out pictures, their reconstructions, {samples}; not selected. {emoji.ATTRIBUTION}."
    return figures.named_rows(pictures_by_name, folder.figure("pictures"), caption, colours=256)


def curves(measured: Measurements, folder: RunFolder) -> Figure:
    """Means over the seeds; the bands reach from the least to the largest seed."""
    owed, lines = measured.mean(WITH, "owed")[0], []
    for label, name, before in (
        (PIXELS, PIXELS, 0.0),
        (LATENTS, LATENTS, 0.0),
        (f"{LATENTS}, autoencoder included", LATENTS, owed),
    ):
        parts = [
            each
            for each in measured.names(DISTANCES)
            if each.startswith(f"{name}, ") and measured.seeds(each, "seconds")
        ]
        seconds = np.array([measured.mean(each, "seconds")[0] for each in parts]) + before
        floors = np.array([[number[0] for number in measured.seeds(each, "floors").values()] for each in parts])
        lines.append(figures.Curve(label, seconds, floors.mean(axis=1), floors.min(axis=1), floors.max(axis=1)))
    spans = [np.asarray(line.x) for line in lines]
    ends = np.array([min(span[0] for span in spans), max(span[-1] for span in spans)])
    lines.append(figures.Curve("training pictures, decoded", ends, np.full(2, measured.mean(DECODED, "floors")[0])))
    caption = (
        "Fréchet distance to held-out pictures against seconds of training; bands reach from the least to the "
        "largest seed."
    )
    labels: dict[str, Any] = {"x_label": "seconds of training", "y_label": "Fréchet distance, in floors"}
    marks = (("training pictures", 1.0),)
    return figures.curves(lines, folder.figure("curves"), caption, log_x=True, log_y=True, thresholds=marks, **labels)


def seconds(measured: Measurements, folder: RunFolder) -> Figure:
    """Of one evaluation."""
    caption = (
        f"One evaluation for one picture; latents are {costs.FACTOR} times smaller per side. Medians with 95 % "
        "intervals."
    )
    return _by_side(measured, folder, "cost", "milliseconds", caption)


def memory(measured: Measurements, folder: RunFolder) -> Figure:
    """Of one evaluation."""
    return _by_side(measured, folder, "memory", "MiB", "Memory of the same calls, by XLA's analysis.")


def picture_cost(measured: Measurements, folder: RunFolder) -> Figure:
    """Of a picture."""
    lines, steps = [], costs.PICTURE_STEPS
    for each in (each for each in measured if each.group == WHOLE):
        ratios: Any = [each.measures[f"{count} evaluations"] for count in steps]
        lines.append(figures.Curve(f"{each.measures['side']} pixels", np.array(steps), *np.array(ratios).T))
    caption = (
        "Seconds of a whole picture in pixels over those in latents, which are decoded once, against the "
        "evaluations per picture."
    )
    labels: dict[str, Any] = {
        "x_label": "evaluations per picture",
        "y_label": "ratio of seconds",
        "log_x": True,
        "log_y": True,
    }
    return figures.curves(lines, folder.figure("whole_picture"), caption, **labels)


def _by_side(measured: Measurements, folder: RunFolder, file: str, measure: str, caption: str) -> Figure:
    lines = []
    for what in costs.TIMED:
        rows: list[Measured] = [each for each in measured if (each.group, each.name) == (COSTS, what)]
        numbers: Any = [each.measures[measure] for each in rows]
        lines.append(
            figures.Curve(what, np.array([each.measures["side"] for each in rows]), *np.atleast_2d(np.array(numbers).T))
        )
    return figures.curves(
        lines, folder.figure(file), caption, x_label="pixels of a side", y_label=measure, log_x=True, log_y=True
    )
