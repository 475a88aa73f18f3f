"""The teacher of each seed, and its students."""

import functools
from typing import Any

import jax
import numpy as np

from experiments.diffusion import few_evaluations, students
from experiments.diffusion.few_step.config import RESOLUTION, Config, model, two_time_model
from experiments.diffusion.students import GRADIENT, Teaching
from gendiff.commands.images import image_training
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.diffusion import grids
from gendiff.diffusion.distillation import Pairs
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import optimizers

_PAIRS = 1


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The teacher of each seed, then all its students."""
    image_training.per_seed(model)(config, folder, progress)
    teachers = {seed: image_training.averaged(model(config), folder, seed) for seed in config.seeds}
    every: dict[str, Any] = {"checkpoint_every": config.checkpoint_every, "log_every": config.log_every}

    def data(seed: int, on_pairs: bool) -> Any:
        return _pairs(config, teachers[seed], seed, progress) if on_pairs else image_training.digits_batch(digits.load())

    for name in config.students:
        students.train(teaching(config), name, teachers, data, folder, progress, **every)


def teaching(config: Config) -> Teaching:
    """What all students have in common: as many operations as the training of their teacher, which no guidance leads."""
    budget = config.train_steps * GRADIENT * config.batch
    numbers = {name: getattr(config, name) for name in ("batch", "fake_steps", "intervals", "shortest", "ema")}
    pairs, optimizer = float(config.pairs * config.pair_steps), functools.partial(_optimizer, config)
    of = {"budget": budget, "pairs": pairs, "optimizer": optimizer, **numbers}
    return Teaching(model(config), two_time_model(config), lambda network: network, teacher_cost=1.0, **of)


@functools.lru_cache(maxsize=1)
def norm() -> float:
    """The root mean square of the norm of a digit."""
    return few_evaluations.norm(digits.load().train_images)


def cut(schedule: Schedule, steps: int) -> Level:
    """The grid of `grids.resolved` for digits."""
    return grids.resolved(schedule, steps, resolution=RESOLUTION, norm=norm())


def _optimizer(config: Config, total: int) -> Any:
    warmup = min(config.warmup, max(0, total - 1))
    return optimizers.adamw(config.student_rate, warmup=warmup, total=total, weight_decay=config.weight_decay, clip=config.clip)


def _pairs(config: Config, teacher: Params, seed: int, progress: Progress) -> Pairs:
    """What the teacher draws, with the noise that it begins from. Other noise than that of the samples that are judged."""
    of = model(config)
    levels, label = cut(of.schedule, config.pair_steps), np.arange(config.pairs, dtype=np.int32) % of.num_classes
    key = jax.random.fold_in(jax.random.key(seed), _PAIRS)
    options: dict[str, Any] = {"together": config.together, "title": f"draw pairs for seed {seed}", "progress": progress}
    return few_evaluations.pairs(key, teaching(config).teacher, teacher, label, levels, of.shape, **options)
