"""Draws of the teacher on fixed, cut and learned levels, and of its students, from the same noise and labels."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import students
from experiments.diffusion.few_step import train
from experiments.diffusion.few_step.config import Config, model
from experiments.diffusion.image_draws import Draws, Grid
from gendiff.core.types import Params
from gendiff.diffusion import grids, learned_grid, samplers
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.runs import devices
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

DDIM, CUT = "DDIM", "UniPC 2, cut levels"
LEARNED_DDIM = "DDIM, learned levels"
LEARNED = {LEARNED_DDIM: samplers.ddim(), "UniPC 2, learned levels": samplers.unipc(2)}
"""Samplers of the teacher whose levels are learned, by name."""
UNTRAINED = "untrained student"
FIXED: dict[str, tuple[Sampler, Grid]] = {
    DDIM: (samplers.ddim(), grids.trailing),
    "DPM-Solver++ 2M, cut levels": (samplers.dpm_solver_multistep(2), train.cut),
    CUT: (samplers.unipc(2), train.cut),
}
"""Samplers of the teacher on grids that were chosen before the run."""


@dataclass(frozen=True)
class Set:
    """Samples 0, 1, … of one seed by one method, which evaluates its network so many times per sample."""

    seed: int
    method: str
    evaluations: int

    @property
    def name(self) -> str:
        return f"seed {self.seed}, {self.method}, {self.evaluations}"


def sets(config: Config, seed: int) -> list[Set]:
    """Every set of one seed, the reference first."""
    every = [Set(seed, DDIM, config.reference)]
    every += [Set(seed, name, count) for name in FIXED for count in config.evaluations]
    every.append(Set(seed, CUT, config.certified))
    every += [Set(seed, LEARNED_DDIM, count) for count in config.evaluations if 1 < count < config.equal]  # a curve of one sampler
    every += [Set(seed, name, config.equal) for name in LEARNED]
    for name in config.students:
        every += [Set(seed, name, count) for count in students.STUDENTS[name].counts(config.evaluations)]
    every.append(Set(seed, UNTRAINED, config.judged))
    return list(dict.fromkeys(every))


class MethodDraws:
    """Draws of every method, one compiled program each, which serves all seeds and numbers of evaluations."""

    def __init__(self, config: Config, folder: RunFolder, progress: Progress) -> None:
        self._config, self._folder, self._progress = config, folder, progress
        self._draws: dict[str, Draws] = {}

    def __call__(self, wanted: Set, teacher: Params, levels: Level | None = None) -> tuple[np.ndarray, float]:
        """(count, h, w, c) images, and the seconds that they took without compiling.

        teacher: its parameters. levels: learned ones, for a method that has them.
        """
        config, name = self._config, wanted.method
        params = teacher
        if name in students.STUDENTS:
            params = students.restore(train.teaching(config), self._folder, name, wanted.seed, wanted.evaluations)
        elif name == UNTRAINED:
            params = model(config).init(jax.random.key(wanted.seed))
        first, draws = name not in self._draws, self._of(name)
        if levels is not None:
            draws.grid = lambda schedule, steps: levels
        if first:
            draws(f"compile {name}", params, config.together, steps=1)
        begin = time.perf_counter()
        images = draws(wanted.name, params, config.samples, steps=wanted.evaluations)
        return images, time.perf_counter() - begin

    def _of(self, name: str) -> Draws:
        if name in self._draws:
            return self._draws[name]
        config = self._config
        options: dict[str, Any] = {"sampler": samplers.ddim(), "grid": grids.trailing}
        of = model(config)
        if name in students.STUDENTS:
            student = students.STUDENTS[name]
            of = student.model(train.teaching(config))
            options |= {"sampler": student.sampler, "built": student.built}
        elif name in FIXED:
            options = dict(zip(("sampler", "grid"), FIXED[name], strict=True))
        elif name in LEARNED:
            options["sampler"] = LEARNED[name]
        most = max(*config.evaluations, config.certified, config.reference if name == DDIM else 1)
        self._draws[name] = Draws(of, most, config.together, self._progress, **options)
        return self._draws[name]


def learned(config: Config, name: str, teacher: Params, steps: int) -> learned_grid.LearnedGrid:
    """The levels of so many steps, learned from the ends of a fine solution; the labels take turns."""
    found: learned_grid.LearnedGrid = jax.device_get(_learning(config, name, steps)(teacher))
    return found


@functools.lru_cache(maxsize=32)  # so that all seeds share a program
def _learning(config: Config, name: str, steps: int) -> Callable[[Params], learned_grid.LearnedGrid]:
    of, count = model(config, convolution="fast_backward"), config.learn_batch

    def run(teacher: Params) -> learned_grid.LearnedGrid:
        return learned_grid.learn(
            jax.random.key(1),
            of.denoiser(teacher, jnp.arange(count) % of.num_classes),
            LEARNED[name],
            of.schedule,
            shape=of.shape,
            candidates=dict(candidates(of.schedule, steps)),
            reference=(samplers.unipc(2), train.cut(of.schedule, config.fine)),
            pairs=config.learn_pairs,
            held_out=config.learn_pairs,
            batch=count,
            iterations=config.learn_iterations,
        )

    return devices.jit(run)


def candidates(schedule: Schedule, steps: int) -> Iterator[tuple[str, Level]]:
    """The fixed grids that learning begins with, and must not be worse than."""
    yield "trailing", grids.trailing(schedule, steps)
    yield "cosine", grids.cosine(schedule, steps)
    yield "cut", train.cut(schedule, steps)
