"""Every way to train a student once: its loss, what a step of it costs, and how it draws."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from experiments.diffusion import image_training
from experiments.diffusion.few_step.config import METHODS, Config, model, two_time_model
from experiments.diffusion.image_model import Model
from gendiff.core.types import Metrics, Params
from gendiff.diffusion import denoiser, distillation, grids, samplers
from gendiff.diffusion.distillation import two_times
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Denoiser
from gendiff.training import TrainState

GRADIENT = 3.0
"""Evaluations of the network that a gradient costs: one forward, and twice as much backward."""
ROUNDS = (8, 4, 2, 1)
"""Steps of the students of progressive distillation, one after the other; each is the teacher of the next."""
FrozenLoss = Callable[..., tuple[jax.Array, Metrics]]
"""(params, key, batch, *frozen) -> (scalar, metrics)."""
Make = Callable[[Config, Model, int], FrozenLoss]
"""(config, student's model, steps of the student) -> its loss."""
Frozen = Callable[[Config, TrainState, Denoiser, int], tuple[Any, ...]]
"""(config, state of the student, teacher, steps of the training) -> the frozen trees behind the batch."""


@dataclass(frozen=True)
class Student:
    """One way to train a student.

    loss: what it descends. frozen: what the loss reads beside the batch. cost: evaluations of the network per sample and step.
    on_pairs: whether it learns from pairs that the teacher draws, in place of the data. fake_cost: evaluations of each step of a second
    network, which learns the student's samples beside it; 0 where there is none.
    sampler: what draws from it, one evaluation per step. model: of its network. built: what makes a denoiser of that.
    rounds: the evaluations of its networks; () where one network serves all. most: evaluations in which it is drawn at most.
    """

    loss: Make
    frozen: Frozen
    cost: float
    sampler: Sampler
    model: Callable[[Config], Model] = model
    built: Callable[..., Any] = denoiser.from_network
    rounds: tuple[int, ...] = ()
    most: int = 8
    on_pairs: bool = False
    fake_cost: float = 0.0

    def evaluations(self, config: Config) -> float:
        """Evaluations of the network per sample and optimizer step."""
        return self.cost + config.fake_steps * self.fake_cost

    def steps(self, config: Config) -> int:
        """Optimizer steps for as many operations as the teacher's training, at least one; of each round where there are several."""
        budget = config.train_steps * GRADIENT * config.batch - self.beside(config)
        return max(1, round(budget / self.evaluations(config) / config.batch / max(1, len(self.rounds))))

    def beside(self, config: Config) -> float:
        """Evaluations per training that no step does."""
        return float(config.pairs * config.pair_steps) if self.on_pairs else 0.0


def every(config: Config) -> dict[str, Student]:
    """The students of the configuration, by name."""
    return {name: STUDENTS[name] for name in config.students}


def told(teacher: Model, params: Params, label: jax.Array) -> denoiser.NetworkDenoiser:
    """The teacher under these labels."""
    return denoiser.from_network(teacher.predict, params, teacher.parameterization, label)


def fake_loss(config: Config) -> FrozenLoss:
    """What the denoiser of generated digits descends, which distribution matching trains beside its generator."""
    of = model(config)
    return distillation.on_generated(_generate(of), image_training.loss(of))


def _generate(of: Model) -> Callable[..., jax.Array]:
    return distillation.one_step(of.predict, of.schedule, of.parameterization)


def _progressive(config: Config, of: Model, steps: int) -> FrozenLoss:
    return distillation.progressive_distillation(of.predict, of.parameterization, grids.trailing(of.schedule, 2 * steps))


def _reflow(config: Config, of: Model, steps: int) -> FrozenLoss:
    return distillation.reflow(of.predict, of.schedule, of.parameterization)


def _consistency_distillation(config: Config, of: Model, steps: int) -> FrozenLoss:
    return distillation.consistency_distillation(of.predict, of.schedule, of.parameterization)


def _consistency_training(config: Config, of: Model, steps: int) -> FrozenLoss:
    return distillation.consistency_training(of.predict, of.schedule, of.parameterization)


def _shortcut(config: Config, of: Model, steps: int) -> FrozenLoss:
    return distillation.shortcut(of.predict, of.schedule, of.parameterization, steps=config.shortest, drop_condition=0.0)


def _mean_flow(config: Config, of: Model, steps: int) -> FrozenLoss:
    return distillation.mean_flow(of.predict, of.schedule, of.parameterization, drop_condition=0.0)


def _matching(config: Config, of: Model, steps: int) -> FrozenLoss:
    return distillation.distribution_matching(_generate(of), of.schedule)


def _nothing(config: Config, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return ()


def _teacher(config: Config, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return (teacher,)


def _average(config: Config, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return (state.ema,)


def _intervals(config: Config, state: TrainState, total: int) -> Any:
    return distillation.doubling_intervals(state.step, max(total, config.intervals), least=4, most=config.intervals)


def _divided(config: Config, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return (_intervals(config, state, total),)


def _divided_teacher(config: Config, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return _intervals(config, state, total), teacher, state.ema


_TWO_TIMES: dict[str, Any] = {"model": two_time_model, "built": two_times.from_network}
STUDENTS: dict[str, Student] = dict(
    zip(
        METHODS,
        (
            Student(_progressive, _teacher, GRADIENT + 2, samplers.ddim(), rounds=ROUNDS),
            Student(_reflow, _nothing, GRADIENT, samplers.ddim(), on_pairs=True),
            Student(_consistency_distillation, _divided_teacher, GRADIENT + 3, distillation.consistency()),
            Student(_consistency_training, _divided, GRADIENT + 1, distillation.consistency()),
            Student(_shortcut, _average, GRADIENT + 0.5, distillation.jump(), **_TWO_TIMES),
            Student(_mean_flow, _nothing, GRADIENT + 1, distillation.jump(), **_TWO_TIMES),
            Student(_matching, _teacher, GRADIENT + 2, samplers.ddim(), most=1, fake_cost=GRADIENT + 1),
        ),
        strict=True,
    )
)
"""A quarter of a batch of a shortcut model takes two steps; MeanFlow's derivative costs a further forward pass."""
