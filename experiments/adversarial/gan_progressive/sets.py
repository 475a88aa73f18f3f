"""Sets of pictures, measured against held-out ones: Fréchet distance, recall and near-copies; and how long drawing one picture takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.adversarial.gan_progressive import networks, pictures, train
from experiments.adversarial.gan_progressive.config import DIFFUSION, DIGITS, METHODS, PROGRESSIVE, Config, numbers
from gendiff.commands.images import image_features
from gendiff.commands.images.image_features import FeatureOptions
from gendiff.core.types import Params
from gendiff.data import digits, scaling
from gendiff.metrics import features, frechet, near_copies, precision_recall
from gendiff.runs import interleaving
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.intervals import SEED
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder

GENERATOR, FEW, MANY = "GAN", "few steps", "many steps"
"""What is timed: one evaluation, and both numbers of steps of diffusion."""
SHOWN = 36
"""Pictures of each set that figures show."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One set. distances, recall, precision: of draws, (draws,). copied: (n,) whether a picture is a near-copy of a training picture."""

    distances: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    copied: np.ndarray


@dataclass(frozen=True, eq=False)
class OfTraining:
    """One seed of one method. curve: distances at each place, (places, draws). last: the set at the end; of diffusion in the few steps.

    many: diffusion in the many steps; None of a GAN. shown: the first pictures at each place.
    """

    curve: np.ndarray
    last: Measured
    many: Measured | None
    shown: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class OfSubject:
    """Everything of one subject. trainings: of each method, by seed. floor, real: training pictures as samples, and held-out near-copies.

    untrained: distances of a generator before its training. mean: of the mean training picture.
    seconds: of one picture in each round, by what is timed.
    """

    trainings: Mapping[str, tuple[OfTraining, ...]]
    floor: Measured
    real: np.ndarray
    untrained: np.ndarray
    mean: np.ndarray
    seconds: Mapping[str, tuple[float, ...]]


class PictureJudge:
    """Held-out and training pictures of a subject, and every measure of a set of pictures in [-1, 1]."""

    def __init__(self, config: Config, subject: str) -> None:
        self._draws, self._size, self._digits = config.draws, numbers(config, subject).draw_size, subject == DIGITS
        self._features = features.pixels if self._digits else image_features.function(FeatureOptions(config.features))
        training, held_out = pictures.load(config, subject)
        self._training, self._held_out = self._pixels(training), self._rows(held_out)
        self.real = self._copied(held_out)
        self.floor = self.measure(training)
        self.mean = self.distances(np.repeat(training.mean(axis=0, keepdims=True), self._size, axis=0))

    def measure(self, images: np.ndarray) -> Measured:
        """Every number of one set."""
        rows, options = self._rows(images), self._options()
        cover = precision_recall.over_subsets(self._held_out, rows, **options)
        recall, precision = (np.array([getattr(each, name) for each in cover]) for name in ("recall", "precision"))
        return Measured(frechet.over_subsets(self._held_out, rows, **options), recall, precision, self._copied(images))

    def distances(self, images: np.ndarray) -> np.ndarray:
        """(draws,) Fréchet distances alone."""
        return frechet.over_subsets(self._held_out, self._rows(images), **self._options())

    def excess(self, copied: np.ndarray) -> Number:
        """The rate of near-copies above that of held-out pictures."""
        return intervals.interval(intervals.difference_of_means, copied, self.real)

    def _options(self) -> dict[str, Any]:
        return {"count": self._draws, "size": self._size, "seed": SEED}

    def _seen(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(scaling.round_to_levels(images, digits.LEVELS)) if self._digits else images

    def _pixels(self, images: np.ndarray) -> np.ndarray:
        return features.pixels(self._seen(images))

    def _copied(self, images: np.ndarray) -> np.ndarray:
        return near_copies.ratios(self._pixels(images), self._training) < near_copies.THRESHOLD

    def _rows(self, images: np.ndarray) -> np.ndarray:
        given = self._seen(images) if self._digits else pictures.stored(images)
        return features.extract(self._features, given, batch=image_features.TOGETHER)


def of_subject(config: Config, folder: RunFolder, subject: str, progress: Progress) -> OfSubject:
    """From the files of the training, and from its networks what an untrained one draws and how long each draws."""
    with progress.phase(f"judge {subject}"):
        judge = PictureJudge(config, subject)
        trainings = {
            method: tuple(_of_training(config, folder, judge, subject, method, seed) for seed in config.seeds) for method in METHODS
        }
        game, of = networks.whole(config, subject), numbers(config, subject)
        fresh = jax.jit(game.fresh)(jax.random.key(config.seeds[0])).params
        blank = networks.generated(game, fresh, of.samples, min(config.together, of.samples), 1.0)
        untrained = judge.distances(np.clip(blank, -1.0, 1.0))
    with progress.phase(f"time drawing {subject}"):
        seconds = _timed(config, folder, subject)
    return OfSubject(trainings, judge.floor, judge.real, untrained, judge.mean, seconds)


def ratio(first: np.ndarray, second: np.ndarray) -> Number:
    """The mean of the first over that of the second."""
    return intervals.interval(intervals.ratio_of_means, first, second)


def slower(seconds: Mapping[str, tuple[float, ...]], what: str) -> Number:
    """Seconds of a picture of diffusion over those of the GAN: the median over rounds."""
    return intervals.interval(np.median, np.array(seconds[what]) / np.array(seconds[GENERATOR]))


def _of_training(config: Config, folder: RunFolder, judge: PictureJudge, subject: str, method: str, seed: int) -> OfTraining:
    drawn = [train.read(folder, subject, method, seed, share) for share in config.shares]
    last = judge.measure(drawn[-1].samples)
    curve = np.stack([*(judge.distances(each.samples) for each in drawn[:-1]), last.distances])
    many = judge.measure(drawn[-1].many) if method == DIFFUSION else None
    return OfTraining(curve, last, many, tuple(each.samples[:SHOWN] for each in drawn))


def _timed(config: Config, folder: RunFolder, subject: str) -> dict[str, tuple[float, ...]]:
    """Of one picture: draws of `together` pictures in turn, by networks of the first seed."""
    seed = config.seeds[0]
    params: dict[str, Params] = {name: train.restore(config, folder, subject, name, seed) for name in (PROGRESSIVE, DIFFUSION)}
    draws, draw = (
        networks.draws(config, subject, Progress(quiet=True)),
        networks.drawn(networks.whole(config, subject)),
    )
    index, weight = jnp.arange(draws.together), jnp.float32(1.0)
    key = jax.random.key(networks.SEED)

    def diffusion(steps: int) -> Callable[[], np.ndarray]:
        return lambda: draws("timed", params[DIFFUSION], draws.together, steps=steps)

    works: dict[str, Callable[[], Any]] = {
        GENERATOR: lambda: np.asarray(draw(params[PROGRESSIVE], key, index, weight=weight)),
        FEW: diffusion(config.few),
        MANY: diffusion(config.many),
    }
    timed = interleaving.timed(works, config.rounds, config.call_seconds)
    return {name: tuple(each / draws.together for each in seconds) for name, seconds in timed.items()}
