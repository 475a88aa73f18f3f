"""For each subject and seed a pair that grows, one that does not, and a diffusion model; and their samples at places of the training."""

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.adversarial import samples_over_training
from experiments.adversarial.gan_progressive import budget, networks, pictures
from experiments.adversarial.gan_progressive.budget import StepSeconds
from experiments.adversarial.gan_progressive.config import DIFFUSION, METHODS, PROGRESSIVE, Config, numbers, shape
from experiments.diffusion.image_draws import Draws
from gendiff.commands.images import image_training
from gendiff.core.errors import DataError
from gendiff.core.types import Params
from gendiff.runs import meshes, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Drawn:
    """At one place of a training, in [-1, 1]. samples: (n, s, s, c); of diffusion in few steps. many: of diffusion at the end, else ()."""

    samples: np.ndarray
    many: np.ndarray


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each training goes on where it was, from each place to the next; what has been drawn is not drawn again."""
    times = budget.measured(config, folder, progress)
    for subject in config.subjects:
        progress.line(budget.planned(config, subject, times))
        draws = networks.draws(config, subject, progress)
        for seed, method in itertools.product(config.seeds, METHODS):
            where = _drawn_place(folder, subject, method, seed)
            if samples_over_training.missing(where, config.shares):
                progress.line(f"{subject}, {method}, seed {seed}")
                kind: type[_Denoising] | type[_Playing] = _Denoising if method == DIFFUSION else _Playing
                one = kind(config, folder, progress, subject, method, seed, times, draws)
                samples_over_training.train(where, config.shares, one.advance, one.draw)


def read(folder: RunFolder, subject: str, method: str, seed: int, share: float) -> Drawn:
    """What was drawn at a share of the training. DataError where it is missing or damaged."""
    stored = samples_over_training.read(_drawn_place(folder, subject, method, seed), share, ["samples", "many"])
    return Drawn(**{name: pictures.restored(each) for name, each in stored.items()})


def restore(config: Config, folder: RunFolder, subject: str, method: str, seed: int) -> Params:
    """The averages that samples come from. Raises as `training_loop.restore_ema` does."""
    where = place(folder, subject, method)
    if method == DIFFUSION:
        return image_training.averaged(networks.denoiser(config, subject), where, seed)
    fresh = networks.whole(config, subject).fresh
    return training_loop.restore_ema(lambda key: fresh(key).ema, where, seed=seed, decay=config.ema)


def place(folder: RunFolder, subject: str, method: str) -> RunFolder:
    """Where the trainings of all seeds keep their checkpoints and metrics."""
    return folder.inside(f"{subject}_{method}")


@dataclass(frozen=True)
class _One:
    """The training of one seed."""

    config: Config
    folder: RunFolder
    progress: Progress
    subject: str
    method: str
    seed: int
    times: StepSeconds
    draws: Draws

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of the training loop."""
        where = place(self.folder, self.subject, self.method)
        return {"seed": self.seed, "folder": where, "progress": self.progress}

    def steps_at(self, share: float) -> int:
        return budget.steps_at(self.config, self.subject, self.method, share, self.times)


class _Denoising(_One):
    def advance(self, share: float) -> Any:
        images, _ = pictures.load(self.config, self.subject)
        of = numbers(self.config, self.subject).denoiser
        every: dict[str, Any] = {"checkpoint_every": of.checkpoint_every, "log_every": of.log_every}
        named = networks.denoising(self.config, self.folder, self.subject, images)
        return training_loop.train(**named, **self.common, **every, steps=self.steps_at(share))

    def draw(self, state: Any, share: float) -> dict[str, np.ndarray]:
        config, count = self.config, numbers(self.config, self.subject).samples
        few = self.draws(f"{self.subject}, {config.few} steps", state.ema, count, steps=config.few)
        many = self.draws(f"{self.subject}, {config.many} steps", state.ema, count) if share == 1 else few[:0]
        return {"samples": pictures.stored(few), "many": pictures.stored(many)}


class _Playing(_One):
    def advance(self, share: float) -> Any:
        """Through all stages as far as that share, each by a program of its own, from the newest checkpoint."""
        grown = budget.growth(self.config, self.subject) if self.method == PROGRESSIVE else None
        images, _ = pictures.load(self.config, self.subject)
        data = functools.partial(pictures.batch, images, numbers(self.config, self.subject).batch, self.seed, grown)
        target, common, mesh = self.steps_at(share), self.common, meshes.build(self.folder.mesh, ())
        stages = [networks.last(self.config, self.subject)] if grown is None else range(grown.stages)
        parts = list(zip(stages, [target] if grown is None else itertools.accumulate(grown.steps), strict=True))
        every: dict[str, Any] = {"checkpoint_every": self.config.checkpoint_every, "log_every": self.config.log_every}
        done = _done(common["folder"], self.seed)
        needed = [(stage, end) for stage, end in parts if end > done or end >= target]
        for stage, end in needed:
            run = networks.programs(networks.trained_game(self.config, self.subject, stage), mesh)
            state = training_loop.train(run, data, **common, **every, steps=min(end, target))
            if end >= target:
                break
        return state

    def draw(self, state: Any, share: float) -> dict[str, np.ndarray]:
        config, of = self.config, numbers(self.config, self.subject)
        stage, weight = networks.last(config, self.subject), 1.0
        if self.method == PROGRESSIVE:
            stage, weight = budget.growth(config, self.subject).at(int(state.step) - 1)
        drawn = networks.generated(
            networks.trained_game(config, self.subject, stage), state.ema, of.samples, min(config.together, of.samples), weight
        )
        images = pictures.stored(pictures.enlarged(drawn, shape(config, self.subject)[0]))
        return {"samples": images, "many": images[:0]}


def _done(folder: RunFolder, seed: int) -> int:
    """Steps of the newest checkpoint, 0 without any."""
    try:
        return training_loop.newest_step(folder, seed)
    except DataError:
        return 0


def _drawn_place(folder: RunFolder, subject: str, method: str, seed: int) -> RunFolder:
    return place(folder, subject, method).inside(f"seed_{seed}")
