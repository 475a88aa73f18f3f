"""What the schedules experiment shows: the schedules themselves, their bits, distances and losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.image_judge import MeasuredSet
from experiments.diffusion.schedules.bits import Bits
from experiments.diffusion.schedules.config import Config
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures
from experiments.reporting.results import Cell, Figure, Table
from experiments.reporting.verdicts import Number
from gendiff.diffusion.learned_schedule import LearnedSchedule
from gendiff.diffusion.schedules import Schedule

BySchedule = dict[str, "dict[int, Assessed]"]
"""By schedule and seed."""


@dataclass(frozen=True)
class Assessed:
    """One network on one schedule: bits from the common cleanest level, and from the schedule's own."""

    bits: Bits
    own: Bits
    measured: MeasuredSet


def plots(
    config: Config, folder: RunFolder, fixed: dict[str, Schedule], shapes: Mapping[int, Schedule | LearnedSchedule], assessed: BySchedule
) -> list[Figure]:
    """Four figures; those of losses and bars hold every schedule and seed."""
    u = np.linspace(1 / config.levels, 1.0, 400)
    paths = {name: schedule for name, schedule in fixed.items() if name != "loud"}
    paths |= {f"learned, seed {seed}": shape for seed, shape in shapes.items()}
    figures.curves(
        [figures.Curve(name, u, np.asarray(path.at(np.float32(u)).log_snr)) for name, path in paths.items()],
        folder.figure("log_snr"),
        x_label="u",
        y_label="log-SNR",
    )
    _bars(assessed, folder, "bits", "bits per dimension, an upper bound", {"untrained"}, lambda of: bits_interval(of.bits))
    _bars(assessed, folder, "frechet", "Fréchet distance to held-out digits, in floors", set(), lambda of: of.measured.frechet)
    _losses(config, folder, assessed)
    return [
        Figure("log_snr.png", "log-SNR against u: the learned schedules start and end where linear does."),
        Figure("bits.png", "Bits per dimension of held-out digits given their label; whiskers are the error of the draws alone."),
        Figure("frechet.png", "Fréchet distance of samples; the floor, 1, is training digits against held-out ones."),
        Figure("loss.png", "Mean squared error of the velocity in training, first seed: each schedule's own mix of levels, so no ranking."),
    ]


def bits_interval(of: Bits) -> Number:
    """The mean bits and their 95 % interval over the draws, the digits fixed."""
    value, spread = float(np.mean(of.bits)), 1.96 * of.error
    return value, value - spread, value + spread


def table(assessed: BySchedule) -> Table:
    """Every network."""
    terms = ("bits", "prior", "diffusion", "decoder", "bits, own ends")
    columns = ("schedule", "seed", *terms, "Fréchet / floor", "judge", "precision", "recall")
    rows: list[tuple[Cell, ...]] = []
    for name, seeds in assessed.items():
        for seed, of in seeds.items():
            parts = (float(np.mean(part)) for part in (of.bits.prior, of.bits.diffusion, of.bits.decoder))
            measured = of.measured
            judged = (measured.frechet, measured.accuracy, measured.precision, measured.recall)
            rows.append((name, seed, bits_interval(of.bits), *parts, bits_interval(of.own), *judged))
    return Table("Every network: bits per dimension with the error of the draws, and samples against held-out digits", columns, tuple(rows))


def over_seeds(assessed: BySchedule) -> Table:
    """Mean and range over the seeds, which the intervals of single networks leave out."""
    rows = []
    for name, seeds in assessed.items():
        bits = [bits_interval(of.bits)[0] for of in seeds.values()]
        distances = [of.measured.frechet[0] for of in seeds.values()]
        if bits:
            numbers = [(float(np.mean(of)), float(min(of)), float(max(of))) for of in (bits, distances)]
            rows.append((name, len(bits), *numbers[0], *numbers[1]))
    columns = ("schedule", "seeds", "bits, mean", "least", "largest", "Fréchet / floor, mean", "least", "largest")
    return Table("Over the seeds", columns, tuple(rows))


def variances(spreads: list[tuple[int, Number, Number]]) -> Table:
    """What learning the schedule did to the variance of the bound's draws."""
    columns = ("seed", "in multiples of linear's path", "in multiples of the first schedule")
    return Table("Variance of a draw of the bound on the learned schedule, same network and ends", columns, tuple(spreads))


def _bars(assessed: BySchedule, folder: RunFolder, file: str, label: str, without: set[str], number: Callable[[Assessed], Number]) -> None:
    shown = {f"{name}, seed {seed}": number(of) for name, seeds in assessed.items() if name not in without for seed, of in seeds.items()}
    values, ends = [of[0] for of in shown.values()], [of[1:] for of in shown.values()]
    figures.bars(list(shown), values, folder.figure(file), x_label=label, intervals=ends, log=file == "frechet")


def _losses(config: Config, folder: RunFolder, assessed: BySchedule) -> None:
    seed = config.seeds[0]
    trained = [(name, image_training.inside(folder, name)) for name, of in assessed.items() if name != "untrained" and of]
    curves = [image_training.loss_curve(name, place, seed, "mse") for name, place in trained]
    figures.curves(curves, folder.figure("loss"), x_label="step", y_label="squared error of the velocity", log_y=True)
