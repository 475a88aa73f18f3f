"""What the digits experiment shows: pictures, plots and the table of every set of images."""

import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.digits.config import Config
from experiments.diffusion.image_judge import MeasuredSet
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures
from experiments.reporting.results import Figure, Table
from gendiff.data import digits


def pictures(folder: RunFolder, split: digits.Split, plain: np.ndarray, guided: np.ndarray, trajectory: np.ndarray) -> list[Figure]:
    """Grids of real digits and samples, and the frames of the denoising scrubber."""
    held_out = split.held_out_images
    order = np.argsort(split.held_out_labels, kind="stable")
    by_class = np.concatenate([order[split.held_out_labels[order] == digit][:10] for digit in range(digits.CLASSES)])
    count = min(100, len(plain), len(guided))
    index = np.arange(count).reshape(-1, digits.CLASSES).T.ravel()  # one class per row
    across = count // digits.CLASSES
    figures.grid(held_out[by_class], 10, folder.figure("real"))
    figures.grid(plain[index], across, folder.figure("guidance_1"))
    figures.grid(guided[index], across, folder.figure("guidance_2"))
    figures.denoising_sprite(trajectory, folder.figure("denoising"), columns=10)
    return [
        Figure("real.png", "Held-out digits: ten of each class."),
        Figure("guidance_1.png", "Samples at guidance 1, one class per row, not selected."),
        Figure("guidance_2.png", "Samples from the same noise at guidance 2."),
    ]


def plots(config: Config, folder: RunFolder, sets: dict[str, MeasuredSet]) -> list[Figure]:
    """Training loss, and the Fréchet distance of every set."""
    curves = [image_training.loss_curve(f"seed {seed}", folder, seed) for seed in config.seeds]
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


def table(sets: dict[str, MeasuredSet]) -> Table:
    """Every number of every set."""
    columns = ("set", "n", "Fréchet / floor", "judge", "precision", "recall", "near-copies", "kernel distance")
    rows = [(name, of.n, of.frechet, of.accuracy, of.precision, of.recall, of.copies, of.kernel) for name, of in sets.items()]
    return Table("Every set against the held-out digits, in draws of equal size", columns, tuple(rows))
