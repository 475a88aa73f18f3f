"""Successes by learning rate, spectra and curves of losses, samples of each method side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.adversarial import mosaics
from experiments.adversarial.gan_stability import findings, movement
from experiments.adversarial.gan_stability.config import EXACT, Config, followed
from experiments.adversarial.gan_stability.findings import Found
from experiments.adversarial.methods import DIFFUSION, PENALISED, VANILLA, title
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Axis, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements

COLUMNS = 5
RUNS = "Runs that succeed"
"""Group and title of a table."""
SPECTRA = (VANILLA, PENALISED, "r3gan", DIFFUSION)
"""Methods whose spectra are drawn."""
POINTS = 400
"""Most points of a drawn curve of losses."""


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """The share of runs that succeed, of every method, from the table."""
    table = next(table for table in tables if table.title.startswith(RUNS))
    share = table.columns.index("share")
    # controls have no steps
    return (_bars({str(row[0]): row[share] for row in table.rows if row[1] is not None}, config, folder),)


def successes(measured: Measurements, folder: RunFolder) -> Figure:
    """The share of runs that succeed, of every method."""
    config, _ = _run(measured)
    rows = [each for each in measured if each.group == RUNS and each.measures["steps"] is not None]
    return _bars({each.name: each.measures["share"] for each in rows}, config, folder)


def _bars(bars: dict[str, Any], config: Config, folder: RunFolder) -> Figure:
    runs, means = len(config.paces) * len(config.seeds), f"{_means(config)}. Lines are 95 % intervals."
    caption = (
        f"Share of {runs} runs, {len(config.seeds)} seeds at {len(config.paces)} learning rates, that succeed: {means}"
    )
    return figures.bars(bars, folder.figure("successes"), caption, x_label=f"share of {runs} runs that succeed")


def over_training(measured: Measurements, folder: RunFolder) -> Explorer:
    """Samples of the first seed of every method, side by side, by learning rate and place of the training."""
    config, results = _run(measured)
    names = (*config.methods, EXACT)
    places = range(len(config.shares))
    pictures = [
        [[_tile(results[name], pace, at) for name in names] for at in places] for pace in range(len(config.paces))
    ]
    axes = (Axis("factor of the learning rate", config.paces), Axis("share of the training", config.shares))
    caption = (
        f"Samples of seed {config.seeds[0]} over training, by learning rate; every method has done equally many "
        "operations."
    )
    start = (len(config.paces) // 2, len(config.shares) - 1)
    return figures.explorer(
        np.array(pictures), axes, folder.figure("over_training"), caption, start=start, columns=COLUMNS, colours=64
    )


def by_pace(measured: Measurements, folder: RunFolder) -> Figure:
    """Modes and good samples."""
    config, results = _run(measured)
    panels = []
    for name in config.methods:
        result, paces = results[name], np.array(config.paces)
        measures = {"modes": result.modes / config.success.modes, "good samples": result.good}
        series = [
            Curve(label, paces, values.mean(1), values.min(1), values.max(1)) for label, values in measures.items()
        ]
        panels.append(Panel(title(name), series))
    caption = (
        "Share of the modes and of good samples by learning rate: means of the seeds, and the least and the largest."
    )
    return figures.small_multiples(
        panels, folder.figure("by_rate"), caption, x_label="factor of the learning rate", columns=2
    )


def losses(measured: Measurements, folder: RunFolder) -> Figure:
    """The last steps of one run of each method."""
    config, results = _run(measured)
    middle, panels = len(config.paces) // 2, []
    for name in config.methods:
        tails = findings.later_part(config, results[name].losses)[middle * len(config.seeds)][-POINTS:]
        if np.isfinite(tails).any():
            panels.append(Panel(title(name), [Curve("loss", np.arange(len(tails)), tails)]))
    caption = (
        f"Loss of the critic, or of diffusion, in each of the last {POINTS} steps at most; seed {config.seeds[0]}."
    )
    return figures.small_multiples(panels, folder.figure("losses"), caption, x_label="step", columns=2)


def travels(measured: Measurements, folder: RunFolder) -> Figure:
    """How far samples have travelled between modes, at the middle learning rate."""
    config, results = _run(measured)
    middle, series = len(config.paces) // 2, []
    for name in (*config.methods, EXACT):
        over_time = results[name].over_time
        ways = movement.travelled(movement.masses(over_time[:, min(middle, over_time.shape[1] - 1)]))
        label = f"{EXACT}, other samples each time" if name == EXACT else title(name)
        series.append(Curve(label, followed(config), ways.mean(1), ways.min(1), ways.max(1), reference=name == EXACT))
    caption = (
        "How often all samples have moved to other modes since the middle of the training, at the middle learning "
        "rate: means of the seeds, and the least and the largest."
    )
    labels: Any = {"x_label": "share of the training", "y_label": "travelled"}
    return figures.curves(series, folder.figure("travels"), caption, **labels)


def spectra(measured: Measurements, folder: RunFolder) -> Figure:
    """Means over the runs."""
    config, results = _run(measured)
    series = []
    for name in SPECTRA:
        known = [each for each in results[name].spectra if each.frequency.size] if name in results else []
        if known:
            power = np.mean([each.power for each in known if each.frequency.size == known[0].frequency.size], axis=0)
            series.append(Curve(title(name), known[0].frequency, power))
    caption = "Power of the loss by frequency, over its mean: a mean over the runs. White noise has 1 everywhere."
    path, limits = folder.figure("spectra"), [("white noise", 1.0)]
    labels = {"x_label": "cycles per step", "y_label": "power"}
    return figures.curves(series, path, caption, log_x=True, log_y=True, thresholds=limits, **labels)


def _run(measured: Measurements) -> tuple[Config, dict[str, Found]]:
    """What all figures draw from: it lies with the first measurement."""
    return measured[0].arrays["config"], measured[0].arrays["found"]


def _tile(result: Found, pace: int, at: int) -> np.ndarray:
    """Of the first seed; of a control at its only place."""
    samples = result.drawn[min(at, len(result.drawn) - 1)]
    return mosaics.named(mosaics.cloud(samples[min(pace, len(samples) - 1), 0]), title(result.name))


def _means(config: Config) -> str:
    return f"at least {config.success.modes} modes and more than {config.success.good:.0%} good samples"
