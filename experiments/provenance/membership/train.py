"""The halves of the digits, and the training of all models of a seed at once."""

import functools
from dataclasses import dataclass

import numpy as np

from experiments.provenance import side_by_side
from experiments.provenance.membership.config import Config
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Halves:
    """Which pictures each model learns. shadows: (shadows, n). targets: (targets, n)."""

    shadows: np.ndarray
    targets: np.ndarray

    @property
    def every(self) -> np.ndarray:
        """(models, n), shadow models first."""
        return np.concatenate([self.shadows, self.targets])


def halves(config: Config, count: int, seed: int, *, shuffled: bool = False) -> Halves:
    """Of so many pictures. A picture is in half of the shadow models, and in a target whatever it is in elsewhere.

    shuffled: other halves by the same rule, which no model has learned.
    """
    rng = np.random.default_rng((seed, int(shuffled)))
    places = np.argsort(rng.random((config.shadows, count)), 0)
    return Halves(places < config.shadows // 2, rng.random((config.targets, count)) < 0.5)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """All models of each seed."""
    images = digits.load().train_images
    for seed in config.seeds:
        rows = [np.flatnonzero(each) for each in halves(config, len(images), seed).every]
        optimizer = side_by_side.optimizer(config.learning_rate, config.warmup, config.clip)
        init = side_by_side.starts(config.width, len(rows))
        training_loop.train(
            training_loop.compile_loss(side_by_side.SumOfLosses(), optimizer, init, folder, ema=(config.ema,)),
            functools.partial(side_by_side.batch_at, images, rows, config.batch, seed),
            seed=seed,
            steps=config.train_steps,
            folder=folder,
            progress=progress,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
        )


def restore(config: Config, folder: RunFolder, seed: int) -> Params:
    """The averaged parameters of all models of a seed, shadow models first."""
    init = side_by_side.starts(config.width, config.shadows + config.targets)
    return training_loop.restore_ema(init, folder, seed=seed, decay=config.ema)
