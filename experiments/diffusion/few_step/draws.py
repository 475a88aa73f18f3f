"""The numbers of the study, its networks, and draws of the teacher and of its students from the same noise and
labels.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import few_evaluations, students
from experiments.diffusion.image_draws import Draws, Grid
from experiments.diffusion.students import (
    CONSISTENCY,
    CONSISTENCY_TRAINING,
    GRADIENT,
    MEAN_FLOW,
    REFLOW,
    SHORTCUT,
    STUDENTS,
    Teaching,
)
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.diffusion import grids, learned_grid, parameterization, samplers, schedules
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.runs import devices
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Positive, Several
from gendiff.runs.run_folder import RunFolder
from gendiff.training import optimizers

RESOLUTION = 2 / (digits.LEVELS - 1)
"""Between two values of a pixel: where the cut grid ends."""
CERTIFIED = 6
"""Evaluations in which UniPC of order 2 on cut levels is claimed to lose nothing."""
STUDENT_RATE = 1e-3
"""Peak learning rate of the students."""


@functools.lru_cache(maxsize=1)
def norm() -> float:
    """The root mean square of the norm of a digit."""
    return few_evaluations.norm(digits.load().train_images)


def cut(schedule: Schedule, steps: int) -> Level:
    """The grid of `grids.resolved` for digits."""
    return grids.resolved(schedule, steps, resolution=RESOLUTION, norm=norm())


DDIM, CUT, UNTRAINED = "DDIM", "UniPC 2, cut levels", "untrained student"
LEARNED_DDIM, LEARNED_UNIPC = "DDIM, learned levels", "UniPC 2, learned levels"
FIXED: dict[str, tuple[Sampler, Grid]] = {
    DDIM: (samplers.ddim(), grids.trailing),
    "DPM-Solver++ 2M, cut levels": (samplers.dpm_solver_multistep(2), cut),
    CUT: (samplers.unipc(2), cut),
}
"""Samplers of the teacher on grids that were chosen before the run."""
LEARNED = {LEARNED_DDIM: samplers.ddim(), LEARNED_UNIPC: samplers.unipc(2)}
"""Samplers of the teacher whose levels are learned, by name."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning):
    """The numbers that are turned. `train_steps` and what stands beside it are of the teacher."""

    train_steps: Count = 1600
    """Optimizer steps of the teacher. Each student has as many operations as these, or `longer` times as many, so fewer
    steps where a step costs more.
    """
    channels: image_training.Channels = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    reference: Several = 50
    """DDIM steps of the teacher that all else is held against."""
    students: Distinct[str] = (REFLOW, CONSISTENCY, CONSISTENCY_TRAINING, SHORTCUT, MEAN_FLOW)
    """Which ways to train a student; progressive distillation and distribution matching are others."""
    longer: Positive = 4.0
    """Budgets of consistency models and of MeanFlow, in that of the other students."""
    evaluations: Distinct[Count] = (1, 2, 4, 8)
    """Evaluations of the network per sample that are drawn; of students, those up to 8."""
    judged: Count = 4
    """Evaluations at which students are judged, one of `evaluations`; distribution matching is judged at 1."""
    equal: Count = 8
    """Evaluations at which learned levels are claimed to lose nothing, one of `evaluations`."""
    learned: Distinct[str] = (LEARNED_DDIM,)
    """Samplers of the teacher whose levels are learned."""
    pairs: Count = 10_000
    """Pairs of noise and digit that reflow learns from."""
    pair_steps: Count = 16
    """Evaluations in which the teacher draws each pair."""
    fine: Count = 64
    """Evaluations of the solution that levels are learned from."""
    learn_pairs: Count = 256
    """Noises that levels are learned from, and as many that judge them."""
    learn_batch: Count = 32
    """Noises in one gradient; divides `learn_pairs`."""
    learn_iterations: Count = 200
    """Gradient steps of the levels."""
    resamples: Several = 400
    """Bootstrap resamples of each comparison."""


def model(config: Config, convolution: str = "direct") -> Model:
    """The teacher, and of all students that are told one time. convolution: as for `image_training.unet`."""
    return image_training.unet(config, schedules.flow(), parameterization.flow(), convolution=convolution)


def teaching(config: Config) -> Teaching:
    """What all students have in common: as many operations as the training of their teacher, which no guidance leads,
    or a multiple of them.
    """

    def optimizer(total: int) -> Any:
        warmup = min(config.warmup, max(0, total - 1))
        return optimizers.adamw(
            STUDENT_RATE, warmup=warmup, total=total, weight_decay=config.weight_decay, clip=config.clip
        )

    options: dict[str, Any] = {"batch": config.batch, "ema": config.ema, "optimizer": optimizer}
    budget, pairs = config.train_steps * GRADIENT * config.batch, float(config.pairs * config.pair_steps)
    options |= {"budget": budget, "pairs": pairs, "longer": config.longer}
    two_times = image_training.unet(config, schedules.flow(), parameterization.flow(), second_time=True)
    return Teaching(model(config), two_times, lambda network: network, teacher_cost=1.0, **options)


@dataclasses.dataclass(frozen=True)
class Set:
    """Samples 0, 1, … of one seed by one method, which evaluates its network so many times per sample."""

    seed: int
    method: str
    evaluations: int

    @property
    def name(self) -> str:
        return f"{self.method}, {self.evaluations}"


def judged(config: Config, seed: int) -> list[Set]:
    """Those of students that are judged."""
    return [Set(seed, name, min(config.judged, STUDENTS[name].most)) for name in config.students]


def sets(config: Config, seed: int) -> list[Set]:
    """Every set of one seed, the reference first."""
    all_sets = [Set(seed, DDIM, config.reference)]
    all_sets += [Set(seed, name, count) for name in FIXED for count in config.evaluations]
    all_sets.append(Set(seed, CUT, CERTIFIED))
    all_sets += [Set(seed, name, config.equal) for name in config.learned]
    for name in config.students:
        all_sets += [Set(seed, name, count) for count in STUDENTS[name].counts(config.evaluations)]
    all_sets.append(Set(seed, UNTRAINED, config.judged))
    return list(dict.fromkeys(all_sets))


class MethodDraws:
    """Draws of every method, one compiled program each, which serves all seeds and numbers of evaluations."""

    def __init__(self, config: Config, folder: RunFolder, progress: Progress) -> None:
        self._config, self._folder, self._progress = config, folder, progress
        self._draws: dict[str, Draws] = {}

    def __call__(self, each: Set, teacher: Params, levels: Level | None = None) -> tuple[np.ndarray, float]:
        """(count, h, w, c) images, and the seconds that they took without compiling.

        teacher: its parameters. levels: learned ones, for a method that has them.
        """
        config, name = self._config, each.method
        params = teacher
        if name in STUDENTS:
            params = students.restore(teaching(config), self._folder, name, each.seed, each.evaluations)
        elif name == UNTRAINED:
            params = model(config).init(jax.random.key(each.seed))
        first, draws = name not in self._draws, self._of(name)
        if levels is not None:
            draws.grid = lambda schedule, steps: levels
        if first:
            draws(f"compile {name}", params, config.together, steps=1)
        begin = time.perf_counter()
        images = draws(f"seed {each.seed}, {each.name}", params, config.samples, steps=each.evaluations)
        return images, time.perf_counter() - begin

    def _of(self, name: str) -> Draws:
        if name in self._draws:
            return self._draws[name]
        config = self._config
        options: dict[str, Any] = {"sampler": samplers.ddim(), "grid": grids.trailing}
        network = model(config)
        if name in STUDENTS:
            student = STUDENTS[name]
            network = student.model(teaching(config))
            options |= {"sampler": student.sampler, "built": student.built}
        elif name in FIXED:
            options = dict(zip(("sampler", "grid"), FIXED[name], strict=True))
        elif name in LEARNED:
            options["sampler"] = LEARNED[name]
        most = max(*config.evaluations, CERTIFIED, config.reference if name == DDIM else 1)
        self._draws[name] = Draws(network, most, config.together, self._progress, **options)
        return self._draws[name]


def learned(config: Config, name: str, teacher: Params, steps: int) -> learned_grid.LearnedGrid:
    """The levels of so many steps, learned from the ends of a fine solution; the labels take turns."""
    grid: learned_grid.LearnedGrid = jax.device_get(_learning(config, name, steps)(teacher))
    return grid


@functools.lru_cache(maxsize=32)  # so that all seeds share a program
def _learning(config: Config, name: str, steps: int) -> Callable[[Params], learned_grid.LearnedGrid]:
    network, count = model(config, convolution="fast_backward"), config.learn_batch
    fixed: dict[str, Grid] = {"trailing": grids.trailing, "cosine": grids.cosine, "cut": cut}

    def run(teacher: Params) -> learned_grid.LearnedGrid:
        return learned_grid.learn(
            jax.random.key(1),
            network.denoiser(teacher, jnp.arange(count) % network.num_classes),
            LEARNED[name],
            network.schedule,
            shape=network.shape,
            candidates={grid: at(network.schedule, steps) for grid, at in fixed.items()},
            reference=(samplers.unipc(2), cut(network.schedule, config.fine)),
            pairs=config.learn_pairs,
            held_out=config.learn_pairs,
            batch=count,
            iterations=config.learn_iterations,
        )

    return devices.jit(run)
