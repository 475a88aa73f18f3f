"""What the digits experiment shows: pictures, plots and the table of every set of images."""

import dataclasses
from typing import Any

import numpy as np

from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures
from experiments.reporting.results import Figure, Table
from experiments.reporting.verdicts import Number
from gendiff.data import digits


@dataclasses.dataclass(frozen=True)
class Measured:
    """One set of images."""

    n: int
    frechet: Number
    accuracy: Number
    precision: Number
    recall: Number
    copies: Number
    excess: Number
    kernel: Number
    distances: np.ndarray = dataclasses.field(repr=False)


def pictures(folder: RunFolder, split: digits.Split, plain: np.ndarray, guided: np.ndarray, trajectory: np.ndarray) -> list[Figure]:
    """Grids of real digits and samples, and the frames of the denoising scrubber."""
    held_out = split.held_out_images
    order = np.argsort(split.held_out_labels, kind="stable")
    by_class = np.concatenate([order[split.held_out_labels[order] == digit][:10] for digit in range(digits.CLASSES)])
    asked = min(100, len(plain), len(guided))
    index = np.arange(asked).reshape(-1, digits.CLASSES).T.ravel()  # one class a row
    across = asked // digits.CLASSES
    figures.grid(held_out[by_class], 10, folder.figure("real"))
    figures.grid(plain[index], across, folder.figure("guidance_1"))
    figures.grid(guided[index], across, folder.figure("guidance_2"))
    figures.denoising_sprite(trajectory, folder.figure("denoising"), columns=10)
    return [
        Figure("real.png", "Held-out digits: ten of each class."),
        Figure("guidance_1.png", "Samples at guidance 1, one class a row, not selected."),
        Figure("guidance_2.png", "Samples from the same noise at guidance 2."),
    ]


def plots(config: Any, folder: RunFolder, sets: dict[str, Measured]) -> list[Figure]:
    """Training loss, and the Fréchet distance of every set."""
    lines = {seed: folder.read_metrics(seed) for seed in config.seeds}
    curves = [figures.Curve(f"seed {seed}", *smooth(of)) for seed, of in lines.items()]
    figures.curves(curves, folder.figure("loss"), x_label="step", y_label="loss (flow)", log_y=True)
    figures.bars(
        list(sets),
        [of.frechet[0] for of in sets.values()],
        folder.figure("frechet"),
        x_label="Fréchet distance to held-out digits, in floors",
        intervals=[of.frechet[1:] for of in sets.values()],
        log=True,
        thresholds=[("threshold at guidance 1", config.thresholds.frechet)],
    )
    return [
        Figure("frechet.png", "Fréchet distance of every set; the floor, 1, is training digits against held-out ones."),
        Figure("loss.png", "Training loss, a mean over 20 lines of the log."),
    ]


def table(sets: dict[str, Measured]) -> Table:
    """Every number of every set."""
    columns = ("set", "n", "Fréchet / floor", "judge", "precision", "recall", "near-copies", "kernel distance")
    rows = [(name, of.n, of.frechet, of.accuracy, of.precision, of.recall, of.copies, of.kernel) for name, of in sets.items()]
    return Table("Every set against the held-out digits, in draws of equal size", columns, tuple(rows))


def smooth(lines: list[dict[str, Any]], name: str = "loss", width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """(step, metric) of the log, the metric a mean over `width` lines."""
    step, value = (np.array([line[key] for line in lines], np.float64) for key in ("step", name))
    width = min(width, len(value))
    return step[width - 1 :], np.convolve(value, np.ones(width) / width, mode="valid")
