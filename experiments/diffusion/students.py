"""Every way to train a student of a network that draws: its loss, what a step of it costs, how it draws, and its
training.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import optax

from gendiff import training
from gendiff.commands.images import image_model
from gendiff.commands.images.image_model import Model
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.diffusion import denoiser, distillation, grids, samplers, weighting
from gendiff.diffusion.distillation import positions, two_times
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Denoiser
from gendiff.runs import meshes, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured
from gendiff.training import TrainState

PROGRESSIVE, REFLOW, CONSISTENCY, CONSISTENCY_TRAINING = (
    "progressive distillation",
    "reflow",
    "consistency distillation",
    "consistency training",
)
SHORTCUT, MEAN_FLOW, MATCHING = "shortcut", "MeanFlow", "distribution matching"
METHODS = (PROGRESSIVE, REFLOW, CONSISTENCY, CONSISTENCY_TRAINING, SHORTCUT, MEAN_FLOW, MATCHING)
"""Every way to train a student, by the name in tables."""
TITLE = "Students: evaluations per sample and optimizer step, and steps"
WORDS = {"each": "evaluations per step", "optimizer": "steps"}
"""What each measure of `costs` is."""
GRADIENT = 3.0
"""Evaluations of the network that a gradient costs: one forward, and twice as much backward."""
ROUNDS = (8, 4, 2, 1)
"""Steps of the students of progressive distillation, one after the other; each is the teacher of the next."""
LEAST_INTERVALS = 4
"""Of the path, where consistency distillation begins."""
DOUBLINGS = 7
"""Of the intervals of consistency training, from 10 to 1,280 (Song & Dhariwal, 2024, Tab. 1)."""
_OF_UNETS: dict[str, Any] = {"positions": positions.logit_normal(-2.0, 2.0), "interval_share": 0.75, "power": 0.75}
"""MeanFlow's numbers for a U-Net of small pictures (Geng et al., 2025, App. A: CIFAR-10; from memory)."""
_START, _FAKE = 2**32 - 1, 2**32 - 2


@dataclass(frozen=True)
class Teaching:
    """What all students of one network share.

    model: the teacher's network, and of all students that are told one time. two_times: of those that are told a second
        one.
    guide: the network as a denoiser -> the teacher. teacher_cost: evaluations of the network that one of the teacher
        makes.
    budget: evaluations of the network that each training makes. pairs: those of them which drawing pairs has cost; 0
    where all students learn from what the teacher draws. batch: samples of a step. fake_steps: of the denoiser of
    generated samples, for each of the generator. intervals: of the path at the end of consistency distillation.
    shortest: how many of the shortest steps of a shortcut model the path has; both are powers of 2. optimizer: of so
    many steps. ema: decay of the average that draws. longer: budgets of a training of a consistency model or of
    MeanFlow.
    """

    model: Model
    two_times: Model
    guide: Callable[[denoiser.NetworkDenoiser], Denoiser]
    teacher_cost: float
    budget: float
    pairs: float
    batch: int
    optimizer: Callable[[int], optax.GradientTransformation]
    ema: float
    fake_steps: int = 2
    intervals: int = 64
    shortest: int = 32
    longer: float = 1.0

    def denoiser(self, params: Params, condition: Any) -> denoiser.NetworkDenoiser:
        """A network of one time under a condition."""
        return self.model.denoiser(params, condition)

    def teacher(self, params: Params, condition: Any) -> Denoiser:
        """The teacher of a batch, which is told its condition."""
        return self.guide(self.denoiser(params, condition))


FrozenLoss = Callable[..., tuple[jax.Array, Metrics]]
"""(params, key, batch, *frozen) -> (scalar, metrics)."""
Make = Callable[[Teaching, Model, int], FrozenLoss]
"""(teaching, student's model, steps of the student) -> its loss."""
Frozen = Callable[[Teaching, TrainState, Denoiser, int], tuple[Any, ...]]
"""(teaching, state of the student, teacher, steps of the training) -> the frozen trees behind the batch."""


@dataclass(frozen=True)
class Student:
    """One way to train a student.

    loss: what it descends. frozen: what the loss reads beside the batch. cost: evaluations of the student's networks
        per sample and step.
    teacher: of the teacher. on_pairs: whether it learns from pairs that the teacher draws, in place of the data.
    fake_cost: evaluations of each step of a second network, which learns the student's samples beside it; 0 where there
    is none.
    sampler: what draws from it, one evaluation per step. second_time: whether its network is told one. rounds: the
    evaluations of its networks; () where one network serves all. most: evaluations in which it is drawn at most.
    slow: whether it learns for the longer budget.
    """

    loss: Make
    frozen: Frozen
    cost: float
    sampler: Sampler
    teacher: float = 0.0
    second_time: bool = False
    rounds: tuple[int, ...] = ()
    most: int = 8
    on_pairs: bool = False
    fake_cost: float = 0.0
    slow: bool = False

    @property
    def built(self) -> Callable[..., Any]:
        """What makes a denoiser of its network, by the arguments of `denoiser.from_network`."""
        return two_times.from_network if self.second_time else denoiser.from_network

    def model(self, teaching: Teaching) -> Model:
        """Of its network."""
        return teaching.two_times if self.second_time else teaching.model

    def evaluations(self, teaching: Teaching) -> float:
        """Evaluations of the network per sample and optimizer step."""
        return self.cost + teaching.teacher_cost * self.teacher + teaching.fake_steps * self.fake_cost

    def steps(self, teaching: Teaching) -> int:
        """Optimizer steps for the budget, at least one; of each round where there are several."""
        spent = self.evaluations(teaching) * teaching.batch * max(1, len(self.rounds))
        budget = teaching.budget * (teaching.longer if self.slow else 1.0)
        return max(1, round((budget - self.beside(teaching)) / spent))

    def beside(self, teaching: Teaching) -> float:
        """Evaluations per training that no step does."""
        return teaching.pairs if self.on_pairs else 0.0

    def counts(self, evaluations: tuple[int, ...]) -> list[int]:
        """Those of the evaluations in which it draws."""
        return [count for count in evaluations if count <= self.most and count in (self.rounds or (count,))]


@records.record
class Lesson:
    """What the next step of a student depends on.

    Attributes:
        generator: the student.
        fake: the denoiser of generated samples, for distribution matching; () for all others.
        teacher: the parameters of the teacher, which never change.
    """

    generator: TrainState
    fake: Any
    teacher: Params

    @property
    def step(self) -> Any:
        """() int32, the steps of the student."""
        return self.generator.step


def inside(folder: RunFolder, name: str, round: int = 0) -> RunFolder:
    """Where the checkpoints and metrics of a student lie."""
    return folder.inside(name.replace(" ", "_") + (f"_{round}" if round else ""))


def restore(teaching: Teaching, folder: RunFolder, name: str, seed: int, evaluations: int) -> Params:
    """The averaged parameters of the student that draws in so many evaluations."""
    student = STUDENTS[name]
    inner = inside(folder, name, evaluations if student.rounds else 0)
    return training_loop.restore_ema(student.model(teaching).init, inner, seed=seed, decay=teaching.ema)


def costs(teaching: Teaching, names: Iterable[str]) -> Iterator[Measured]:
    """What students of these names are trained by."""
    for name in names:
        student = STUDENTS[name]
        steps = student.steps(teaching) * max(1, len(student.rounds))
        yield Measured(name, {"each": student.evaluations(teaching), "optimizer": steps}, group="students")


def train(
    teaching: Teaching,
    name: str,
    teachers: dict[int, Params],
    data: Callable[[int, bool], Any],
    folder: RunFolder,
    progress: Progress,
    **intervals: Any,
) -> None:
    """A student of the teacher of each seed, from where its training stands; all seeds share a program.

    data: (seed, whether pairs of the teacher are wanted) -> a pytree of arrays (size, …), asked for where there is
        something to learn.
    intervals: of `training_loop.train`.
    """
    student = STUDENTS[name]
    for earlier, round in zip((None, *student.rounds), student.rounds or (0,), strict=False):
        program = _program(teaching, student, round, folder)
        for seed, first in teachers.items():
            inner, steps = inside(folder, name, round), student.steps(teaching)
            if training_loop.steps_done(inner, seed) >= steps:
                continue
            teacher = first if earlier is None else restore(teaching, folder, name, seed, earlier)
            inputs, initial = (
                data(seed, student.on_pairs),
                program._replace(fresh=jax.jit(_fresh(teaching, student, teacher))),
            )
            numbers: dict[str, Any] = {"seed": seed, "steps": steps, "batch": teaching.batch}
            with progress.phase(name, seed=seed):
                training_loop.train(initial, inputs, folder=inner, progress=progress, **numbers, **intervals)


def _program(teaching: Teaching, student: Student, round: int, folder: RunFolder) -> training.CompiledStep:
    """The step of a student under jit, which serves all seeds; `fresh` is that of each seed."""
    network, total = student.model(teaching), student.steps(teaching)
    step = training.make_step(student.loss(teaching, network, round), teaching.optimizer(total), ema_warm_up=True)
    fake_step = (
        training.make_step(_fake_loss(teaching), _fake_optimizer(teaching, total)) if student.fake_cost else None
    )

    def advance(state: Lesson, batch: Any) -> tuple[Lesson, Metrics]:
        fake, condition = state.fake, batch.condition[0]
        if fake_step is not None:
            for _ in range(teaching.fake_steps):
                fake, _metrics = fake_step(fake, batch, state.generator.params)
        frozen = student.frozen(teaching, state.generator, teaching.teacher(state.teacher, condition), total)
        if fake_step is not None:
            frozen = (*frozen, teaching.denoiser(fake.params, condition))
        generator, metrics = step(state.generator, batch, *frozen)
        return Lesson(generator, fake, state.teacher), metrics

    return training_loop.compile_step(advance, lambda key: None, meshes.build(folder.mesh, ()))


def _fresh(teaching: Teaching, student: Student, teacher: Params) -> Callable[[jax.Array], Lesson]:
    network, total = student.model(teaching), student.steps(teaching)

    def fresh(key: jax.Array) -> Lesson:
        initial = distillation.init_from_teacher(network.init(jax.random.fold_in(key, _START)), teacher)
        generator = training.start(initial, teaching.optimizer(total), key, (teaching.ema,))
        fake: Any = ()
        if student.fake_cost:
            fake = training.start(teacher, _fake_optimizer(teaching, total), jax.random.fold_in(key, _FAKE), ())
        return Lesson(generator, fake, teacher)

    return fresh


def _fake_optimizer(teaching: Teaching, total: int) -> optax.GradientTransformation:
    return teaching.optimizer(teaching.fake_steps * total)


def _fake_loss(teaching: Teaching) -> FrozenLoss:
    """What the denoiser of generated samples descends, which distribution matching trains beside its generator."""
    return distillation.on_generated(_generate(teaching.model), image_model.loss(teaching.model))


def _generate(network: Model) -> Callable[..., jax.Array]:
    return distillation.one_step(network.predict, network.schedule, network.parameterization)


def _told(teacher: Denoiser, condition: Any) -> Denoiser:
    """A teacher that `Teaching.teacher` has told the condition of the batch."""
    return teacher


def _progressive(teaching: Teaching, network: Model, steps: int) -> FrozenLoss:
    return distillation.progressive_distillation(
        network.predict, network.parameterization, grids.trailing(network.schedule, 2 * steps), tell=_told
    )


def _reflow(teaching: Teaching, network: Model, steps: int) -> FrozenLoss:
    return distillation.reflow(
        network.predict, network.schedule, network.parameterization, levels=weighting.stratified_levels()
    )


def _consistency_distillation(teaching: Teaching, network: Model, steps: int) -> FrozenLoss:
    return distillation.consistency_distillation(
        network.predict, network.schedule, network.parameterization, tell=_told
    )


def _consistency_training(teaching: Teaching, network: Model, steps: int) -> FrozenLoss:
    levels = positions.log_normal(network.schedule)
    return distillation.consistency_training(
        network.predict, network.schedule, network.parameterization, positions=levels
    )


def _shortcut(teaching: Teaching, network: Model, steps: int) -> FrozenLoss:
    return distillation.shortcut(
        network.predict, network.schedule, network.parameterization, steps=teaching.shortest, drop_condition=0.0
    )


def _mean_flow(teaching: Teaching, network: Model, steps: int) -> FrozenLoss:
    return distillation.mean_flow(
        *(network.predict, network.schedule, network.parameterization), drop_condition=0.0, **_OF_UNETS
    )


def _matching(teaching: Teaching, network: Model, steps: int) -> FrozenLoss:
    return distillation.distribution_matching(_generate(network), network.schedule, tell=_told)


def _nothing(teaching: Teaching, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return ()


def _teacher(teaching: Teaching, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return (teacher,)


def _average(teaching: Teaching, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return (state.ema,)


def _divided(teaching: Teaching, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    return (distillation.doubling_intervals(state.step, max(total, DOUBLINGS)),)


def _divided_teacher(teaching: Teaching, state: TrainState, teacher: Denoiser, total: int) -> tuple[Any, ...]:
    most = teaching.intervals
    number = distillation.doubling_intervals(state.step, max(total, most), least=LEAST_INTERVALS, most=most)
    return number, teacher, state.ema


STUDENTS: dict[str, Student] = {
    PROGRESSIVE: Student(_progressive, _teacher, GRADIENT, samplers.ddim(), teacher=2, rounds=ROUNDS),
    REFLOW: Student(_reflow, _nothing, GRADIENT, samplers.ddim(), on_pairs=True),
    CONSISTENCY: Student(
        _consistency_distillation, _divided_teacher, GRADIENT + 1, distillation.consistency(), teacher=2, slow=True
    ),
    CONSISTENCY_TRAINING: Student(_consistency_training, _divided, GRADIENT + 1, distillation.consistency(), slow=True),
    SHORTCUT: Student(_shortcut, _average, GRADIENT + 0.5, distillation.jump(), second_time=True),
    MEAN_FLOW: Student(_mean_flow, _nothing, GRADIENT + 1, distillation.jump(), second_time=True, slow=True),
    MATCHING: Student(_matching, _teacher, GRADIENT + 1, samplers.ddim(), teacher=1, most=1, fake_cost=GRADIENT + 1),
}
"""A quarter of a batch of a shortcut model takes two steps; MeanFlow's derivative costs a further forward pass."""
