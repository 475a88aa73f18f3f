"""Pictures of captions by every method, from the same noise, with the evaluations that they made and the seconds that
they took.
"""

import functools
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.few_step_text import students, subjects
from experiments.diffusion.few_step_text.config import Config
from experiments.diffusion.few_step_text.methods import (
    DDIM,
    GUIDED,
    GUIDED_DDIM,
    GUIDED_MULTISTEP,
    LEARNED,
    METHODS,
    SAVING,
    SHALLOW,
    UNIPC,
    UNTRAINED,
    Counted,
    Method,
    Numbers,
    Tally,
)
from experiments.diffusion.few_step_text.subjects import Subject
from gendiff.core.types import Params
from gendiff.diffusion import denoiser, grids, learned_grid, samplers, sampling
from gendiff.diffusion.distillation import two_times
from gendiff.diffusion.types import Level
from gendiff.networks import NO_TEXT
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import accounting

_LEARNING = 2**32 - 1
"""No picture has this index, so that levels are learned from other noise."""


@dataclass(frozen=True)
class Set:
    """The pictures of all captions of one network from the noise of one seed, by one method in so many steps."""

    network: str
    seed: int
    method: str
    steps: int

    @property
    def name(self) -> str:
        return f"{self.network}, seed {self.seed}, {self.method}, {self.steps} steps"


@dataclass(frozen=True, eq=False)
class Drawn:
    """pictures (n, h, w, 3). evaluations, seconds: of the network per picture, without compiling."""

    pictures: np.ndarray
    evaluations: float
    seconds: float


def sets(config: Config, network: str, seed: int) -> list[Set]:
    """Every set of one network and one seed, the two references first."""
    set_of = functools.partial(Set, network, seed)
    all_sets = [set_of(DDIM, config.reference), set_of(GUIDED_DDIM, config.reference // 2)]
    all_sets += [set_of(name, steps) for name in (DDIM, UNIPC) for steps in config.steps]
    all_sets += [set_of(LEARNED, steps) for steps in config.learned]
    guided = [
        steps for steps in config.steps if 2 * steps <= max(config.steps) or steps in (config.judged, config.coarse)
    ]
    all_sets += [set_of(name, steps) for name in (GUIDED_DDIM, GUIDED) for steps in guided]
    all_sets += [set_of(GUIDED_MULTISTEP, steps) for steps in (*guided, config.default)]
    all_sets += [set_of(name, steps) for steps in config.saving for name in (UNIPC, GUIDED, *SAVING)]
    all_sets += [set_of(name, steps) for name, counts in config.drawn_in().items() for steps in counts]
    all_sets.append(set_of(UNTRAINED, config.judged))
    return list(dict.fromkeys(all_sets))


class MethodDraws:
    """Draws of one network by every method: one compiled program each, which serves all seeds and numbers of steps."""

    def __init__(self, config: Config, subject: Subject, folder: RunFolder, progress: Progress) -> None:
        self._config, self._subject, self._progress = config, subject, progress
        self._tally = Tally()
        # on the host as those of the subject, so that one program serves all
        self._untrained = jax.device_get(subject.model.init(jax.random.key(0)))
        self._students = {
            (name, count): jax.device_get(students.restore(config, subject, folder, name, count))
            for name, counts in config.drawn_in().items()
            for count in counts
        }
        self._words = jax.tree.flatten(subjects.read(subject.captions).rows(np.arange(len(subject.captions))))
        self._most = max(*config.steps, *config.saving, config.reference)
        self._programs: dict[tuple[Any, Any, bool], Any] = {}

    def __call__(self, requested: Set, levels: Level | None = None) -> Drawn:
        """The pictures of a set. levels: learned ones, for a method that has them. Raises NonFiniteError as
        `drawing.check_finite` does.
        """
        count, together = len(self._subject.captions), self._config.together
        method = METHODS[requested.method]
        if (method.rule, method.sampler, method.second_time) not in self._programs:
            self._programs[method.rule, method.sampler, method.second_time] = devices.jit(
                functools.partial(self._sample, method)
            )
            self._run(f"compile {requested.method}", requested, 1, min(count, together), None)
        before, begin = self._evaluations(), time.perf_counter()
        images = self._run(requested.name, requested, requested.steps, count, levels)
        seconds = time.perf_counter() - begin
        size = min(together, count)
        evaluations = self._evaluations() - before
        return Drawn(self._subject.decode(images), evaluations / (-(-count // size) * size), seconds / count)

    @functools.cached_property
    def shallow_share(self) -> float:
        """Operations of an evaluation with kept features in those of a whole one."""
        model, words = self._subject.model, jax.tree.unflatten(self._words[1], [leaf[:1] for leaf in self._words[0]])
        x, t = np.zeros((1, *model.shape), np.float32), np.zeros(1, np.float32)
        arguments = self._subject.params, x, t, words
        features = jax.eval_shape(model.predict, *arguments, SHALLOW)[1]
        return accounting.xla_flops(model.predict, *arguments, features) / accounting.xla_flops(
            model.predict, *arguments
        )

    def _evaluations(self) -> float:
        jax.effects_barrier()  # the last evaluations are counted before they are read
        return self._tally.whole + (self.shallow_share * self._tally.shallow if self._tally.shallow else 0.0)

    def _run(self, title: str, requested: Set, steps: int, count: int, levels: Level | None) -> np.ndarray:
        config, subject = self._config, self._subject
        method = METHODS[requested.method]
        grid = levels if levels is not None else _grid(subject, method, steps)
        draw = functools.partial(
            self._programs[method.rule, method.sampler, method.second_time],
            self._params(requested),
            jax.random.key(requested.seed),
            method.numbers(subject.guiding),
            grids.padded(grid, self._most),
            jnp.int32(steps),
        )
        index = np.arange(count, dtype=np.int32)
        words = [leaf[:count] for leaf in self._words[0]]
        images = drawing.draw_all(
            draw, index, *words, together=config.together, title=f"sample {title}", progress=self._progress
        )
        drawing.check_finite(images, index, title)
        return images

    def _params(self, requested: Set) -> Params:
        if METHODS[requested.method].student:
            return self._students[requested.method, requested.steps]
        return self._untrained if requested.method == UNTRAINED else self._subject.params

    def _sample(
        self,
        method: Method,
        params: Params,
        key: jax.Array,
        numbers: Numbers,
        levels: Level,
        steps: jax.Array,
        index: jax.Array,
        *words: Any,
    ) -> jax.Array:
        model, built = (
            (self._subject.two_times, two_times.from_network)
            if method.second_time
            else (self._subject.model, denoiser.from_network)
        )
        condition = jax.tree.unflatten(self._words[1], words)
        conditioned: Any = built(Counted(model.predict, self._tally), params, model.parameterization, condition)
        denoise = method.rule(conditioned, conditioned.with_condition(NO_TEXT), numbers)
        return sampling.sample(key, denoise, method.sampler, levels, model.shape, index, num_steps=steps)


def learned(config: Config, subject: Subject, steps: int) -> learned_grid.LearnedGrid:
    """The levels of so many steps without guidance, learned from the ends of a fine solution on captions that are not
    judged.
    """
    model, schedule = subject.model, subject.model.schedule
    words = subjects.read(subject.others).rows(np.arange(len(subject.others)))

    def run(params: Params, words: Any) -> learned_grid.LearnedGrid:
        return learned_grid.learn(
            jax.random.fold_in(jax.random.key(min(config.seeds)), _LEARNING),
            denoiser.from_network(subject.differentiable.predict, params, model.parameterization, words),
            METHODS[LEARNED].sampler,
            schedule,
            shape=model.shape,
            candidates={"trailing": grids.trailing(schedule, steps), "resolved": subject.resolved(steps)},
            reference=(samplers.unipc(2), subject.resolved(config.fine)),
            pairs=config.learn_pairs,
            held_out=config.learn_pairs,
            batch=config.learn_batch,
            iterations=config.learn_iterations,
        )

    grid: learned_grid.LearnedGrid = jax.device_get(devices.jit(run)(subject.params, words))
    return grid


def _grid(subject: Subject, method: Method, steps: int) -> Level:
    return subject.resolved(steps) if method.resolved else grids.trailing(subject.model.schedule, steps)
