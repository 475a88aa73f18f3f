"""Modes over training, and samples of each method side by side."""

import numpy as np

from experiments.adversarial import mosaics
from experiments.adversarial.gan_modes.config import EXACT, Config
from experiments.adversarial.gan_modes.findings import Found
from experiments.adversarial.methods import title
from experiments.adversarial.targets import STACKED, known
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Axis, Explorer, Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Draw, Measurements

COLUMNS = 5


def over_training(measured: Measurements, folder: RunFolder) -> Explorer:
    """Samples of the first seed of every method, side by side, by target and place of the training."""
    config, results = _run(measured)
    names = (*config.methods, EXACT)
    pictures = [
        [[_tile(target, results[target][name], at) for name in names] for at in range(len(config.shares))]
        for target in config.targets
    ]
    axes = (Axis("data", config.targets), Axis("share of the training", config.shares))
    caption = f"Samples of seed {config.seeds[0]} over training; every method has done equally many operations."
    path, start = folder.figure("over_training"), (1, len(config.shares) - 1)
    return figures.explorer(np.array(pictures), axes, path, caption, start=start, columns=COLUMNS, colours=64)


def coverage(measured: Measurements, folder: RunFolder) -> Figure:
    """Share of the modes over training."""
    config, results = _run(measured)
    panels = []
    for name in config.methods:
        series = []
        for target in config.targets:
            shares = results[target][name].covered / known(target)
            series.append(Curve(target, np.array(config.shares), shares.mean(1), shares.min(1), shares.max(1)))
        panels.append(Panel(title(name), series))
    counts = f"{config.points.samples} points or {config.pictures.samples} pictures"
    caption = (
        f"Share of the modes that {counts} cover, over the training: means of the seeds, and the least and the largest."
    )
    return figures.small_multiples(
        panels, folder.figure("coverage"), caption, x_label="share of the training", columns=2
    )


def training(measured: Measurements, folder: RunFolder) -> Figure:
    """Samples over training of one target, a row per method."""
    config, results = _run(measured)
    target, names = config.targets[min(1, len(config.targets) - 1)], (*config.methods, EXACT)
    tiles = [_square(target, results[target][name], at) for name in names for at in range(len(config.shares))]
    caption = (
        f"Samples of seed {config.seeds[0]} over training: {target}. Columns: shares of the training. Not selected."
    )
    rows, heads = [title(name) for name in names], [f"{share:.0%}" for share in config.shares]
    return figures.grid(
        np.array(tiles), len(heads), folder.figure("training"), caption, rows=rows, heads=heads, colours=64
    )


def samples(target: str) -> Draw:
    """Of every method at the end of its training."""

    def draw(measured: Measurements, folder: RunFolder) -> Figure | None:
        config, results = _run(measured)
        if target not in results:
            return None
        tiles = np.array([_tile(target, each, -1) for each in results[target].values()])
        caption = f"Samples at the end of the training, seed {config.seeds[0]}: {target}. Not selected."
        return figures.grid(tiles, COLUMNS, folder.figure(f"samples_{target.split()[0]}"), caption, scale=1)

    return draw


def _run(measured: Measurements) -> tuple[Config, dict[str, dict[str, Found]]]:
    """What all figures draw from: it lies with the first measurement."""
    return measured[0].arrays["config"], measured[0].arrays["found"]


def _tile(target: str, result: Found, at: int) -> np.ndarray:
    return mosaics.named(_square(target, result, at), title(result.name))


def _square(target: str, result: Found, at: int) -> np.ndarray:
    """Of the first seed at a place; of a control at its only one."""
    samples = result.drawn[min(at, len(result.drawn) - 1)].samples[0]
    return mosaics.digits(samples) if target == STACKED else mosaics.cloud(samples)
