"""The teacher of each seed, and each student: a training whose state holds the teacher, so that all seeds share one program."""

import functools
from typing import Any

import jax
import numpy as np

from experiments.diffusion import few_evaluations, image_training
from experiments.diffusion.few_step import students
from experiments.diffusion.few_step.config import RESOLUTION, Config, model
from experiments.diffusion.few_step.students import Student
from experiments.diffusion.image_model import Model
from experiments.framework import meshes, training_loop
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff import training
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.data import digits
from gendiff.diffusion import distillation, grids
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.training import TrainState, optimizers

_START, _FAKE, _PAIRS = 2**32 - 1, 2**32 - 2, 1


@records.record
class Lesson:
    """What the next step of a student depends on.

    Attributes:
        generator: the student.
        fake: the denoiser of generated digits, for distribution matching; () for all others.
        teacher: the parameters of the teacher, which never change.
    """

    generator: TrainState
    fake: Any
    teacher: Params

    @property
    def step(self) -> Any:
        """() int32, the steps of the student."""
        return self.generator.step


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The teacher of each seed, then all its students."""
    image_training.per_seed(model)(config, folder, progress)
    first = {seed: image_training.averaged(model(config), folder, seed) for seed in config.seeds}
    for name, student in students.every(config).items():
        for earlier, round in zip((None, *student.rounds), student.rounds or (0,), strict=False):
            program = _program(config, student, round, folder)
            for seed in config.seeds:
                teacher = first[seed] if earlier is None else restore(config, folder, name, seed, earlier)
                with progress.phase(name, seed=seed):
                    _train(config, student, program, teacher, seed, place(folder, name, round), progress)


def place(folder: RunFolder, name: str, round: int = 0) -> RunFolder:
    """Where the checkpoints and metrics of a student lie."""
    return folder.inside(name.replace(" ", "_") + (f"_{round}" if round else ""))


def restore(config: Config, folder: RunFolder, name: str, seed: int, evaluations: int) -> Params:
    """The averaged parameters of the student that draws in so many evaluations."""
    student = students.STUDENTS[name]
    of = place(folder, name, evaluations if student.rounds else 0)
    return training_loop.restore_ema(student.model(config).init, of, seed=seed, decay=config.ema)


@functools.lru_cache(maxsize=1)
def norm() -> float:
    """The root mean square of the norm of a digit."""
    return few_evaluations.norm(digits.load().train_images)


def cut(schedule: Schedule, steps: int) -> Level:
    """The grid of `grids.resolved` for digits."""
    return grids.resolved(schedule, steps, resolution=RESOLUTION, norm=norm())


def _program(config: Config, student: Student, round: int, folder: RunFolder) -> training.Programs:
    """The step of a student under jit, which serves all seeds; `fresh` is that of each seed."""
    of, teacher, total = student.model(config), model(config), student.steps(config)
    step = training.make_step(student.loss(config, of, round), _optimizer(config, total), ema_warm_up=True)
    fake_step = training.make_step(students.fake_loss(config), _optimizer(config, config.fake_steps * total)) if student.fake_cost else None

    def advance(state: Lesson, batch: Any) -> tuple[Lesson, Metrics]:
        fake = state.fake
        if fake_step is not None:
            for _ in range(config.fake_steps):
                fake, _metrics = fake_step(fake, batch, state.generator.params)
        frozen = student.frozen(config, state.generator, students.told(teacher, state.teacher, batch.condition[0]), total)
        if fake_step is not None:
            frozen = (*frozen, students.told(teacher, fake.params, batch.condition[0]))
        generator, metrics = step(state.generator, batch, *frozen)
        return Lesson(generator, fake, state.teacher), metrics

    return training_loop.own_programs(advance, lambda key: None, meshes.build(folder.mesh, ()))


def _train(
    config: Config, student: Student, program: training.Programs, teacher: Params, seed: int, folder: RunFolder, progress: Progress
) -> None:
    of, total = student.model(config), student.steps(config)
    optimizer, fake_optimizer = _optimizer(config, total), _optimizer(config, config.fake_steps * total)

    def fresh(key: jax.Array) -> Lesson:
        begun = distillation.begun(of.init(jax.random.fold_in(key, _START)), teacher)
        generator = training.start(begun, optimizer, key, (config.ema,))
        fake: Any = ()
        if student.fake_cost:
            fake = training.start(teacher, fake_optimizer, jax.random.fold_in(key, _FAKE), ())
        return Lesson(generator, fake, teacher)

    data: Any = image_training.digits_batch(digits.load())
    if student.on_pairs:
        data = _pairs(config, model(config), teacher, seed, progress)
    training_loop.train_programs(
        program._replace(fresh=jax.jit(fresh)),
        data,
        seed=seed,
        steps=total,
        batch=config.batch,
        folder=folder,
        progress=progress,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )


def _optimizer(config: Config, total: int) -> Any:
    warmup = min(config.warmup, max(0, total - 1))
    return optimizers.adamw(config.student_rate, warmup=warmup, total=total, weight_decay=config.weight_decay, clip=config.clip)


def _pairs(config: Config, of: Model, teacher: Params, seed: int, progress: Progress) -> distillation.Pairs:
    """What the teacher draws, with the noise that it begins from. Other noise than that of the samples that are judged."""
    levels, label = cut(of.schedule, config.pair_steps), np.arange(config.pairs, dtype=np.int32) % of.num_classes
    key, told = jax.random.fold_in(jax.random.key(seed), _PAIRS), functools.partial(students.told, of)
    options: dict[str, Any] = {"together": config.together, "title": f"draw pairs for seed {seed}", "progress": progress}
    return few_evaluations.pairs(key, told, teacher, label, levels, of.shape, **options)
