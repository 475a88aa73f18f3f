"""For each subject and seed a pair that grows, one that does not, and a diffusion model; and their samples at places of
the training.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.adversarial import samples_over_training
from experiments.adversarial.gan_progressive import budget, networks, pictures
from experiments.adversarial.gan_progressive.config import DIFFUSION, METHODS, PROGRESSIVE, Config, numbers, shape
from experiments.diffusion.image_draws import Draws
from gendiff.commands.images import image_training
from gendiff.core.errors import DataError
from gendiff.core.types import Params
from gendiff.runs import meshes, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

StepsAt = Callable[[float], int]
Parts = tuple[Callable[[float], Any], Callable[[Any, float], dict[str, np.ndarray]]]
"""Of a training: to a share of it, and what is drawn there; see `samples_over_training.train`."""


@dataclass(frozen=True)
class Drawn:
    """At one place of a training, in [-1, 1]. samples: (n, s, s, c); of diffusion in few steps. many: of diffusion at
    the end, else ().
    """

    samples: np.ndarray
    many: np.ndarray


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each training goes on where it was, from each place to the next; what has been drawn is not drawn again."""
    times = budget.measured(config, folder, progress)
    for subject in config.subjects:
        progress.line(budget.planned(config, subject, times))
        for seed, method in itertools.product(config.seeds, METHODS):
            where = _drawn_place(folder, subject, method, seed)
            if samples_over_training.missing(where, config.shares):
                progress.line(f"{subject}, {method}, seed {seed}")
                common = {"seed": seed, "folder": inside(folder, subject, method), "progress": progress}
                steps_at = functools.partial(budget.steps_at, config, subject, method, times=times)
                if method == DIFFUSION:
                    parts = _denoising(config, subject, common, steps_at, networks.draws(config, subject, progress))
                else:
                    parts = _playing(config, subject, method, common, steps_at)
                samples_over_training.train(where, config.shares, *parts)


def read(folder: RunFolder, subject: str, method: str, seed: int, share: float) -> Drawn:
    """What was drawn at a share of the training. DataError where it is missing or damaged."""
    stored = samples_over_training.read(_drawn_place(folder, subject, method, seed), share, ["samples", "many"])
    return Drawn(**{name: pictures.restored(each) for name, each in stored.items()})


def restore(config: Config, folder: RunFolder, subject: str, method: str, seed: int) -> Params:
    """The averages that samples come from. Raises as `training_loop.restore_ema` does."""
    where = inside(folder, subject, method)
    if method == DIFFUSION:
        return image_training.averaged(networks.denoiser(config, subject), where, seed)
    fresh = networks.last_game(config, subject).fresh
    return training_loop.restore_ema(lambda key: fresh(key).ema, where, seed=seed, decay=networks.EMA)


def inside(folder: RunFolder, subject: str, method: str) -> RunFolder:
    """Where the trainings of all seeds keep their checkpoints and metrics."""
    return folder.inside(f"{subject}_{method}")


def _denoising(config: Config, subject: str, common: dict[str, Any], steps_at: StepsAt, draws: Draws) -> Parts:
    settings, (images, _) = numbers(config, subject), pictures.load(config, subject)
    common |= {"checkpoint_every": settings.denoiser.checkpoint_every, "log_every": settings.denoiser.log_every}

    def advance(share: float) -> Any:
        return training_loop.train(
            **networks.denoising(config, common["folder"], subject, images), **common, steps=steps_at(share)
        )

    def draw(state: Any, share: float) -> dict[str, np.ndarray]:
        few = draws(f"{subject}, {config.few} steps", state.ema, settings.samples, steps=config.few)
        many = draws(f"{subject}, {config.many} steps", state.ema, settings.samples) if share == 1 else few[:0]
        return {"samples": pictures.stored(few), "many": pictures.stored(many)}

    return advance, draw


def _playing(config: Config, subject: str, method: str, common: dict[str, Any], steps_at: StepsAt) -> Parts:
    grown = budget.growth(config, subject) if method == PROGRESSIVE else None
    settings, (images, _), last = (
        numbers(config, subject),
        pictures.load(config, subject),
        networks.last(config, subject),
    )
    data = functools.partial(pictures.batch, images, settings.batch, common["seed"], grown)

    def advance(share: float) -> Any:
        """Through all stages as far as that share, each by a program of its own, from the newest checkpoint."""
        target, done, mesh = (
            steps_at(share),
            _done(common["folder"], common["seed"]),
            meshes.build(common["folder"].mesh, ()),
        )
        parts = [(last, target)] if grown is None else enumerate(itertools.accumulate(grown.steps))
        for stage, end in parts:
            if end > done or end >= target:
                program = networks.programs(networks.trained_game(config, subject, stage), mesh)
                state = training_loop.train(program, data, **common, steps=min(end, target))
            if end >= target:
                return state

    def draw(state: Any, share: float) -> dict[str, np.ndarray]:
        stage, weight = (last, 1.0) if grown is None else grown.at(int(state.step) - 1)
        images = networks.generated(networks.trained_game(config, subject, stage), state.ema, settings.samples, weight)
        images = pictures.stored(pictures.enlarged(images, shape(config, subject)[0]))
        return {"samples": images, "many": images[:0]}

    return advance, draw


def _done(folder: RunFolder, seed: int) -> int:
    """Steps of the newest checkpoint, 0 without any."""
    try:
        return training_loop.newest_step(folder, seed)
    except DataError:
        return 0


def _drawn_place(folder: RunFolder, subject: str, method: str, seed: int) -> RunFolder:
    return inside(folder, subject, method).inside(f"seed_{seed}")
