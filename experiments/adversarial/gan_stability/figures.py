"""What the run shows beside its claims: successes by learning rate, spectra and curves of losses, samples of each method side by side."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from experiments.adversarial import mosaics
from experiments.adversarial.gan_stability import findings, train
from experiments.adversarial.gan_stability.config import EXACT, NOISE, Config
from experiments.adversarial.gan_stability.findings import Found
from experiments.adversarial.methods import DIFFUSION, PENALISED, VANILLA, title
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Axis, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder

COLUMNS = 5
SPECTRA = (VANILLA, PENALISED, "r3gan", DIFFUSION)
"""Methods whose spectra are drawn."""
POINTS = 400
"""Most points of a drawn curve of losses."""


def every(config: Config, folder: RunFolder, found: dict[str, Found]) -> tuple[Figure, ...]:
    """All figures that are more than the tables hold."""
    return _by_pace(config, folder, found), _losses(config, folder, found), *_spectra(config, folder, found)


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """The share of runs that succeed, of every method."""
    share = tables[0].columns.index("share")
    bars: dict[str, Any] = {str(row[0]): row[share] for row in tables[0].rows if row[1] is not None}  # a control has no steps
    runs, means = len(config.paces) * len(config.seeds), f"{_means(config)}. Lines are 95 % intervals."
    caption = f"Share of {runs} runs, {len(config.seeds)} seeds at {len(config.paces)} learning rates, that succeed: {means}"
    return (figures.bars(bars, folder.figure("successes"), caption, x_label=f"share of {runs} runs that succeed"),)


def over_training(config: Config, folder: RunFolder, found: dict[str, Found]) -> Explorer:
    """Samples of the first seed of every method, side by side, by learning rate and place of the training."""
    names = (*config.methods, EXACT)
    places = range(len(config.shares))
    pictures = [[[_tile(found[name], pace, at) for name in names] for at in places] for pace in range(len(config.paces))]
    axes = (Axis("factor of the learning rate", config.paces), Axis("share of the training", config.shares))
    caption = f"Samples of seed {config.seeds[0]} over training, by learning rate; every method has done equally many operations."
    start = (len(config.paces) // 2, len(config.shares) - 1)
    return figures.explorer(np.array(pictures), axes, folder.figure("over_training"), caption, start=start, columns=COLUMNS, colours=64)


def tables(config: Config, found: dict[str, Found]) -> tuple[Table, ...]:
    """Successes, and spectra."""
    return _success_table(config, found), _swing_table(config, found)


def _by_pace(config: Config, folder: RunFolder, found: dict[str, Found]) -> Figure:
    panels = []
    for name in config.methods:
        of, paces = found[name], np.array(config.paces)
        shown = {"modes": of.modes / config.success.modes, "good samples": of.good}
        series = [Curve(label, paces, values.mean(1), values.min(1), values.max(1)) for label, values in shown.items()]
        panels.append(Panel(title(name), series))
    caption = "Share of the modes and of good samples by learning rate: means of the seeds, and the least and the largest."
    return figures.small_multiples(panels, folder.figure("by_rate"), caption, x_label="factor of the learning rate", columns=2)


def _losses(config: Config, folder: RunFolder, found: dict[str, Found]) -> Figure:
    middle, panels = len(config.paces) // 2, []
    for name in config.methods:
        shown = findings.settled(config, found[name].losses)[middle * len(config.seeds)][-POINTS:]
        if np.isfinite(shown).any():
            panels.append(Panel(title(name), [Curve("loss", np.arange(len(shown)), shown)]))
    caption = f"Loss of the critic, or of diffusion, in each of the last {POINTS} steps at most; seed {config.seeds[0]}."
    return figures.small_multiples(panels, folder.figure("losses"), caption, x_label="step", columns=2)


def _spectra(config: Config, folder: RunFolder, found: dict[str, Found]) -> Iterator[Figure]:
    series = []
    for name in SPECTRA:
        spectra = [each for each in found[name].spectra if each.frequency.size] if name in found else []
        if spectra:
            power = np.mean([each.power for each in spectra if each.frequency.size == spectra[0].frequency.size], axis=0)
            series.append(Curve(title(name), spectra[0].frequency, power))
    caption = "Power of the loss by frequency, over its mean: a mean over the runs. White noise has 1 everywhere."
    place, limits = folder.figure("spectra"), [("white noise", 1.0)]
    labels = {"x_label": "cycles per step", "y_label": "power"}
    yield figures.curves(series, place, caption, log_x=True, log_y=True, thresholds=limits, **labels)


def _tile(found: Found, pace: int, at: int) -> np.ndarray:
    """Of the first seed; of a control at its only place."""
    drawn = found.drawn[min(at, len(found.drawn) - 1)]
    return mosaics.named(mosaics.cloud(drawn[min(pace, len(drawn) - 1), 0]), title(found.name))


def _success_table(config: Config, found: dict[str, Found]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for name, of in found.items():
        hits, control = of.succeeded(config), name in (EXACT, NOISE)
        each = [int(hits[0].sum())] + [None] * (len(config.paces) - 1) if control else [int(row.sum()) for row in hits]
        p_value = None if control or name == DIFFUSION else findings.against_diffusion(config, found, name)
        steps = None if control else train.steps(config, name)
        rows.append((title(name), steps, *each, intervals.share(hits.ravel()), p_value, float(of.modes.mean()), float(of.good.mean())))
    columns = ("method", "steps", *(f"rate × {pace:g}" for pace in config.paces), "share", "p-value", "modes", "good")
    note = (
        f"A run succeeds: {_means(config)}. Of {len(config.seeds)} seeds at each learning rate. P-values are those of Fisher's exact test "
        f"against diffusion, two-sided, not corrected for {len(config.methods) - 1} tests. The controls learn nothing and have no rate."
    )
    return Table(f"Runs that succeed, after {config.points.flops:.3g} operations each.", columns, tuple(rows), note, True)


def _swing_table(config: Config, found: dict[str, Found]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for name in config.methods:
        of = found[name]
        known = [each for each in of.spectra if each.frequency.size]
        white = float(np.mean([each.white(config.slowest, config.fastest) for each in known])) if known else None
        period = float(np.median([each.period for each in known])) if known else None
        spreads = [np.nanstd(curve) for curve in findings.settled(config, of.losses) if np.isfinite(curve).any()]
        spread = float(np.mean(spreads)) if spreads else None
        rows.append((title(name), findings.mean(of.swings(config)), findings.mean(findings.shuffled(config, of)), white, period, spread))
    columns = ("method", "slow swings", "in random order", "white noise", "period", "deviation")
    note = (
        f"Slow swings: the share of the variance of the loss at periods of {config.fastest} to {config.slowest} steps, a mean over the "
        f"runs, after a share of {config.settled:g} of the training. Period: of the strongest swing, in steps, a median over the runs. "
        "Deviation: the standard deviation of the loss."
    )
    return Table("Spectrum of the loss of the critic, or of diffusion.", columns, tuple(rows), note, True)


def _means(config: Config) -> str:
    return f"at least {config.success.modes} modes and more than {config.success.good:.0%} good samples"
