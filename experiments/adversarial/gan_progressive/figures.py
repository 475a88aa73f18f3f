"""What the run shows beside its claims: samples side by side, distances over training, seconds of a picture, and tables."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.adversarial import mosaics
from experiments.adversarial.gan_progressive import budget, pictures, sets
from experiments.adversarial.gan_progressive.budget import StepSeconds
from experiments.adversarial.gan_progressive.config import DIFFUSION, EMOJI, METHODS, Config, shape
from experiments.adversarial.gan_progressive.sets import FEW, GENERATOR, MANY, Measured, OfSubject
from gendiff.data import emoji
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Axis, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder

REAL = "training pictures"
ACROSS = 12
"""Pictures of each kind in a figure."""


def every(config: Config, folder: RunFolder, found: Mapping[str, OfSubject]) -> tuple[Figure, ...]:
    """All figures."""
    return (*_samples(config, folder, found), _distances(config, folder, found), _seconds(config, folder, found))


def over_training(config: Config, folder: RunFolder, found: Mapping[str, OfSubject]) -> Explorer:
    """Samples of the first seed of every method, side by side, by subject and place of the training."""
    frames = [[_tiles(config, subject, of, at) for at in range(len(config.shares))] for subject, of in found.items()]
    axes = (Axis("pictures", tuple(found)), Axis("share of the training", config.shares))
    caption = (
        f"Samples of seed {config.seeds[0]} over training. Both GANs have done equally many operations at each share, and diffusion has "
        f"trained for the seconds of the direct one; it draws in {config.few} steps.{_attribution(found)}"
    )
    place, start = folder.figure("over_training"), (0, len(config.shares) - 1)
    return figures.explorer(np.array(frames), axes, place, caption, start=start, columns=len(METHODS) + 1, colours=128)


def tables(config: Config, times: StepSeconds, found: Mapping[str, OfSubject]) -> tuple[Table, ...]:
    """For each subject what trainings gave, and what pictures cost."""
    return (*(_quality(config, times, subject, of) for subject, of in found.items()), _costs(config, found))


def _samples(config: Config, folder: RunFolder, found: Mapping[str, OfSubject]) -> Iterator[Figure]:
    for subject, of in found.items():
        rows = [_first(pictures.load(config, subject)[0]), *(_first(of.trainings[method][0].shown[-1]) for method in METHODS)]
        named = ", ".join(METHODS)
        caption = f"{subject}; rows: {REAL}, {named} ({config.few} steps), seed {config.seeds[0]}. Not selected.{_attribution([subject])}"
        yield figures.grid(np.concatenate(rows), ACROSS, folder.figure(f"samples_{subject}"), caption, rows=[REAL, *METHODS])


def _distances(config: Config, folder: RunFolder, found: Mapping[str, OfSubject]) -> Figure:
    panels = []
    for subject, of in found.items():
        series, floor = [], of.floor.distances.mean()
        for method in METHODS:
            curves = np.stack([each.curve.mean(1) for each in of.trainings[method]]) / floor
            series.append(Curve(method, np.array(config.shares), curves.mean(0), curves.min(0), curves.max(0)))
        panels.append(Panel(subject, series, ((REAL, 1.0),)))
    caption = f"Fréchet distance in floors, that of {REAL}, over the training: means of the seeds, and the least and the largest."
    return figures.small_multiples(panels, folder.figure("frechet"), caption, x_label="share of the training")


def _seconds(config: Config, folder: RunFolder, found: Mapping[str, OfSubject]) -> Figure:
    bars: dict[str, Any] = {}
    for subject, of in found.items():
        for name, label in ((GENERATOR, "GAN"), (FEW, f"diffusion, {config.few} steps"), (MANY, f"diffusion, {config.many} steps")):
            bars[f"{subject}: {label}"] = _milliseconds(of, name)
    caption = f"Milliseconds per picture, {config.together} at once: medians over rounds with 95 % intervals."
    return figures.bars(bars, folder.figure("seconds"), caption, x_label="milliseconds", log=True)


def _tiles(config: Config, subject: str, of: OfSubject, at: int) -> list[np.ndarray]:
    real = mosaics.named(mosaics.pictures(pictures.load(config, subject)[0]), REAL)
    return [*(mosaics.named(mosaics.pictures(of.trainings[method][0].shown[at]), method) for method in METHODS), real]


def _first(images: np.ndarray) -> np.ndarray:
    """As many as stand in a row; where there are fewer, the first again."""
    return images[np.arange(ACROSS) % len(images)]


def _quality(config: Config, times: StepSeconds, subject: str, of: OfSubject) -> Table:
    rows: list[tuple[Any, ...]] = []
    for method in METHODS:
        operations, seconds = budget.spent(config, subject, method, times)
        spent = (budget.steps(config, subject, method, times), None if np.isnan(operations) else operations, seconds)
        name = f"{method}, {config.few} steps" if method == DIFFUSION else method
        rows.append((name, *spent, *_measures(of, [each.last for each in of.trainings[method]])))
        many = [each.many for each in of.trainings[method] if each.many is not None]
        if many:
            rows.append((f"{method}, {config.many} steps", *spent, *_measures(of, many)))
    rows.append((REAL, None, None, None, *_measures(of, [of.floor])))
    columns = ("method", "steps", "operations", "seconds", "distance", "recall", "precision", "near-copies")
    note = (
        f"Means over {len(config.seeds)} seeds, with intervals over them. Distance: Fréchet's to held-out pictures, in floors, that of "
        f"{REAL}. Near-copies: their share; of held-out pictures it is {float(of.real.mean()):.3f}. Seconds: steps times the measured "
        "seconds of one."
    )
    side = shape(config, subject)[0]
    return Table(f"{subject} of {side}×{side} pixels.", columns, tuple(rows), note, True)


def _measures(of: OfSubject, each: list[Measured]) -> tuple[Any, ...]:
    floor = of.floor.distances.mean()
    values = (
        [one.distances.mean() / floor for one in each],
        [one.recall.mean() for one in each],
        [one.precision.mean() for one in each],
        [one.copied.mean() for one in each],
    )
    return tuple(intervals.over_seeds(np.mean, numbers) if len(numbers) > 1 else float(numbers[0]) for numbers in values)


def _costs(config: Config, found: Mapping[str, OfSubject]) -> Table:
    rows = []
    for subject, of in found.items():
        for name, evaluations in ((GENERATOR, 1), (FEW, config.few), (MANY, config.many)):
            times = None if name == GENERATOR else sets.slower(of.seconds, name)
            rows.append((subject, "GAN" if name == GENERATOR else DIFFUSION, evaluations, _milliseconds(of, name), times))
    columns = ("pictures", "method", "evaluations", "milliseconds", "times the GAN's")
    note = f"{config.together} pictures are drawn at once. The networks of the GAN and of diffusion cost different amounts per evaluation."
    return Table("What a picture costs.", columns, tuple(rows), note, True)


def _milliseconds(of: OfSubject, name: str) -> Any:
    return intervals.interval(np.median, 1000 * np.array(of.seconds[name]))


def _attribution(subjects: Any) -> str:
    return f" {emoji.ATTRIBUTION}." if EMOJI in subjects else ""
