"""Sets of pictures, measured against held-out ones: Fréchet distance, recall and near-copies; and how long drawing one
picture takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.adversarial.gan_progressive import networks, pictures, train
from experiments.adversarial.gan_progressive.config import DIFFUSION, DIGITS, METHODS, PROGRESSIVE, Config, numbers
from gendiff.commands.images import image_features
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.data import digits, scaling
from gendiff.metrics import features, frechet, near_copies, precision_recall, subsampling
from gendiff.runs import paired_timing
from gendiff.runs.progress import Progress
from gendiff.runs.reporting.intervals import SEED
from gendiff.runs.run_folder import RunFolder

GENERATOR, FEW, MANY = "GAN", "diffusion, few steps", "diffusion, many steps"
"""What is timed: one evaluation, and both numbers of steps of diffusion."""
SHOWN = 36
"""Pictures of each set that figures show."""


@dataclass(frozen=True, eq=False)
class Quality:
    """One set. distances, recall, precision: of draws, (draws,). copied: (n,) whether a picture is a near-copy of a
    training picture.
    """

    distances: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    copied: np.ndarray


@dataclass(frozen=True, eq=False)
class OfTraining:
    """One seed of one method. curve: distances at each place, (places, draws). last: the set at the end. shown: first
    pictures by place.
    """

    curve: np.ndarray
    last: Quality
    shown: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, eq=False)
class OfSubject:
    """Everything of one subject. trainings: by method, of diffusion by its steps, those of each seed.

    floor: training pictures as samples. real: whether held-out pictures are near-copies.
    untrained: distances of a generator before its training. mean: of the mean training picture.
    seconds: of one picture in each round, by what is timed.
    """

    trainings: Mapping[str, tuple[OfTraining, ...]]
    floor: Quality
    real: np.ndarray
    untrained: np.ndarray
    mean: np.ndarray
    seconds: Mapping[str, tuple[float, ...]]


class PictureJudge:
    """Held-out and training pictures of a subject, and every measure of a set of pictures in [-1, 1]."""

    def __init__(self, config: Config, subject: str) -> None:
        settings = numbers(config, subject)
        self._draws, self._size = config.draws, min(settings.draw_size, settings.samples - 1)
        self._digits = subject == DIGITS
        self._features = features.pixels if self._digits else image_features.function(FeatureOptions(config.features))
        training, held_out = pictures.load(config, subject)
        self._training, self._held_out = self._pixels(training), self._rows(held_out)
        self.real = self._copied(held_out)
        self.floor = self.measure(training)
        self.mean = self.distances(np.repeat(training.mean(axis=0, keepdims=True), settings.samples, axis=0))

    def measure(self, images: np.ndarray) -> Quality:
        """Every number of one set."""
        rows, options = self._rows(images), self._options()
        cover = precision_recall.over_subsets(self._held_out, rows, **options)
        values = [np.array([getattr(each, name) for each in cover]) for name in ("recall", "precision")]
        recall, precision = (subsampling.jackknifed(each, rows=len(rows), size=self._size) for each in values)
        return Quality(self._distances(rows), recall, precision, self._copied(images))

    def distances(self, images: np.ndarray) -> np.ndarray:
        """(draws,) Fréchet distances alone, spread as their mean is uncertain."""
        return self._distances(self._rows(images))

    def _distances(self, rows: np.ndarray) -> np.ndarray:
        values = frechet.over_subsets(self._held_out, rows, **self._options())
        return subsampling.jackknifed(values, rows=len(rows), size=self._size)

    def _options(self) -> dict[str, Any]:
        return {"count": self._draws, "size": self._size, "seed": SEED}

    def _seen(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(scaling.round_to_levels(images, digits.LEVELS)) if self._digits else images

    def _pixels(self, images: np.ndarray) -> np.ndarray:
        return features.pixels(self._seen(images))

    def _copied(self, images: np.ndarray) -> np.ndarray:
        return near_copies.ratios(self._pixels(images), self._training) < near_copies.THRESHOLD

    def _rows(self, images: np.ndarray) -> np.ndarray:
        inputs = self._seen(images) if self._digits else pictures.stored(images)
        return features.extract(self._features, inputs, batch=image_features.TOGETHER)


def of_subject(config: Config, folder: RunFolder, subject: str, progress: Progress) -> OfSubject:
    """From the files of the training, and from its networks what an untrained one draws and how long each draws."""
    with progress.phase(f"judge {subject}"):
        judge, trainings = PictureJudge(config, subject), dict[str, tuple[OfTraining, ...]]()
        for method in METHODS:
            all_qualities = [
                [train.read(folder, subject, method, seed, share) for share in config.shares] for seed in config.seeds
            ]
            name = FEW if method == DIFFUSION else method
            trainings[name] = tuple(_of_training(judge, [each.samples for each in places]) for places in all_qualities)
            if method == DIFFUSION:
                trainings[MANY] = tuple(_of_training(judge, [places[-1].many]) for places in all_qualities)
        game = networks.last_game(config, subject)
        fresh = jax.jit(game.fresh)(jax.random.key(config.seeds[0])).params
        untrained = judge.distances(
            np.clip(networks.generated(game, fresh, numbers(config, subject).samples, 1.0), -1.0, 1.0)
        )
    with progress.phase(f"time drawing {subject}"):
        seconds = _timed(config, folder, subject)
    return OfSubject(trainings, judge.floor, judge.real, untrained, judge.mean, seconds)


def _of_training(judge: PictureJudge, places: list[np.ndarray]) -> OfTraining:
    last = judge.measure(places[-1])
    curve = np.stack([*(judge.distances(each) for each in places[:-1]), last.distances])
    return OfTraining(curve, last, tuple(each[:SHOWN] for each in places))


def _timed(config: Config, folder: RunFolder, subject: str) -> dict[str, tuple[float, ...]]:
    """Of one picture: draws of many pictures in turn, by networks of the first seed."""
    params = {name: train.restore(config, folder, subject, name, config.seeds[0]) for name in (PROGRESSIVE, DIFFUSION)}
    draws, draw = (
        networks.draws(config, subject, Progress(quiet=True)),
        networks.jitted_draw(networks.last_game(config, subject)),
    )
    key, index, weight = jax.random.key(networks.SEED), jnp.arange(draws.together), jnp.float32(1.0)

    def diffusion(steps: int) -> Callable[[], np.ndarray]:
        return lambda: draws("timed", params[DIFFUSION], draws.together, steps=steps)

    works: dict[str, Callable[[], Any]] = {
        GENERATOR: lambda: np.asarray(draw(params[PROGRESSIVE], key, index, weight=weight)),
        FEW: diffusion(config.few),
        MANY: diffusion(config.many),
    }
    timed = paired_timing.timed(works, config.rounds)
    return {name: tuple(each / draws.together for each in seconds) for name, seconds in timed.items()}
