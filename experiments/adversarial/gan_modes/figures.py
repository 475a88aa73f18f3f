"""What the run shows beside its claims: modes over training, samples of each method side by side, and a table for each target."""

from typing import Any

import numpy as np

from experiments.adversarial import mosaics
from experiments.adversarial.gan_modes import train
from experiments.adversarial.gan_modes.config import EXACT, NOISE, Config, numbers
from experiments.adversarial.gan_modes.findings import Found
from experiments.adversarial.methods import title
from experiments.adversarial.targets import STACKED, known
from gendiff.metrics import modes
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Axis, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder

COLUMNS = 5


def every(config: Config, folder: RunFolder, found: dict[str, dict[str, Found]]) -> tuple[Figure, ...]:
    """All figures."""
    samples = (_samples(config, folder, target, of) for target, of in found.items())
    return _coverage(config, folder, found), _training(config, folder, found), *samples


def over_training(config: Config, folder: RunFolder, found: dict[str, dict[str, Found]]) -> Explorer:
    """Samples of the first seed of every method, side by side, by target and place of the training."""
    names = (*config.methods, EXACT)
    pictures = [
        [[_tile(target, found[target][name], at) for name in names] for at in range(len(config.shares))] for target in config.targets
    ]
    axes = (Axis("data", config.targets), Axis("share of the training", config.shares))
    caption = f"Samples of seed {config.seeds[0]} over training; every method has done equally many operations."
    place, start = folder.figure("over_training"), (1, len(config.shares) - 1)
    return figures.explorer(np.array(pictures), axes, place, caption, start=start, columns=COLUMNS, colours=64)


def tables(config: Config, found: dict[str, dict[str, Found]]) -> tuple[Table, ...]:
    """A table for each target."""
    return tuple(_table(config, target, of) for target, of in found.items())


def _coverage(config: Config, folder: RunFolder, found: dict[str, dict[str, Found]]) -> Figure:
    panels = []
    for name in config.methods:
        series = []
        for target in config.targets:
            shares = found[target][name].covered / known(target)
            series.append(Curve(target, np.array(config.shares), shares.mean(1), shares.min(1), shares.max(1)))
        panels.append(Panel(title(name), series))
    counts = f"{config.points.samples} points or {config.pictures.samples} pictures"
    caption = f"Share of the modes that {counts} cover, over the training: means of the seeds, and the least and the largest."
    return figures.small_multiples(panels, folder.figure("coverage"), caption, x_label="share of the training", columns=2)


def _training(config: Config, folder: RunFolder, found: dict[str, dict[str, Found]]) -> Figure:
    """Samples over training of one target, a row per method."""
    target, names = config.targets[min(1, len(config.targets) - 1)], (*config.methods, EXACT)
    tiles = [_square(target, found[target][name], at) for name in names for at in range(len(config.shares))]
    caption = f"Samples of seed {config.seeds[0]} over training: {target}. Columns: shares of the training. Not selected."
    rows, heads = [title(name) for name in names], [f"{share:.0%}" for share in config.shares]
    return figures.grid(np.array(tiles), len(heads), folder.figure("training"), caption, rows=rows, heads=heads, colours=64)


def _samples(config: Config, folder: RunFolder, target: str, found: dict[str, Found]) -> Figure:
    tiles = np.array([_tile(target, of, -1) for of in found.values()])
    caption = f"Samples at the end of the training, seed {config.seeds[0]}: {target}. Not selected."
    return figures.grid(tiles, COLUMNS, folder.figure(f"samples_{target.split()[0]}"), caption, scale=1)


def _tile(target: str, found: Found, at: int) -> np.ndarray:
    return mosaics.named(_square(target, found, at), title(found.name))


def _square(target: str, found: Found, at: int) -> np.ndarray:
    """Of the first seed at a place; of a control at its only one."""
    samples = found.drawn[min(at, len(found.drawn) - 1)].samples[0]
    return mosaics.digits(samples) if target == STACKED else mosaics.cloud(samples)


def _table(config: Config, target: str, found: dict[str, Found]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for name, of in found.items():
        control = name in (EXACT, NOISE)
        taken = None if control else train.steps(config, target, name)
        covered = f"{of.modes.min()} to {of.modes.max()}" if len(set(of.modes)) > 1 else f"{of.modes[0]}"
        counted = (float(of.modes.mean()), covered, float(np.mean([report.kl for report in of.reports])))
        near: tuple[Any, ...] = ()
        if target != STACKED:
            near = (float(np.mean([report.touched for report in of.reports])), float(of.good.mean()), float(of.distances.mean()))
            near += tuple(_mean([getattr(report, name) for report in of.unaveraged]) for name in ("modes", "good"))
        rows.append((title(name), taken, *counted, *near))
    more = () if target == STACKED else ("touched", "good", "distance", "unaveraged modes", "unaveraged good")
    last = numbers(config, target).last_samples
    note = (
        f"Of {last} samples per seed, means over {len(config.seeds)} seeds. A mode is covered by at least "
        f"{modes.least_count(last, known(target))} good samples. KL: of the counts of good samples to the uniform law, in nats."
    )
    if more:
        note += f" Touched: modes with a good sample at all. Distance: Wasserstein's, of {config.transported} samples to as many real ones."
        note += " Samples come from averages of the parameters; unaveraged ones come from the last parameters themselves."
    columns = ("method", "steps", "modes", "in a seed", "KL", *more)
    return Table(
        f"Modes of the {target}, of {known(target)}, after {numbers(config, target).flops:.3g} operations.",
        columns,
        tuple(rows),
        note,
        True,
    )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
