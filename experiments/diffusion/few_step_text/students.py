"""Students that draw in few evaluations and without guidance what the guided network draws in many: guidance is
distilled too.

The network draws a picture of each caption of its training under guidance. These pictures and their captions are the
data of every student, which begins as the network. Where a student asks its teacher, the teacher is the guided network.
Captions that are judged are not among them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import few_evaluations, students
from experiments.diffusion.few_step_text import subjects
from experiments.diffusion.few_step_text.config import Config
from experiments.diffusion.few_step_text.subjects import Subject
from experiments.diffusion.students import GRADIENT, Teaching
from gendiff import networks
from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import Learning
from gendiff.core.types import Params
from gendiff.diffusion import guidance
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.distillation import Pairs
from gendiff.diffusion.types import Batch, Denoiser
from gendiff.runs import drawing
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

NOISE = 2**32 - 2
"""What the key of the pairs folds in, so that their noise is that of no other picture."""


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """All students of each network, with the first seed."""
    intervals: dict[str, Any] = {"checkpoint_every": 200, "log_every": learning(config, 1).log_every}
    for name in config.networks:
        subject = subjects.opened(config, name, progress)
        draw_pairs = functools.cache(functools.partial(pairs, config, subject, progress))

        def data(seed: int, on_pairs: bool, draw_pairs: Any = draw_pairs) -> Any:
            return draw_pairs() if on_pairs else Batch(clean=draw_pairs().clean, condition=draw_pairs().condition)

        lesson, teachers, inner = teaching(config, subject), {config.seeds[0]: subject.params}, folder.inside(name)
        for student in config.students:
            progress.line(f"{name}: {student}")
            students.train(lesson, student, teachers, data, inner, progress, **intervals)


def restore(config: Config, subject: Subject, folder: RunFolder, name: str, evaluations: int) -> Params:
    """The averaged parameters of a student that draws in so many evaluations."""
    return students.restore(teaching(config, subject), folder.inside(subject.name), name, config.seeds[0], evaluations)


def teaching(config: Config, subject: Subject) -> Teaching:
    """What all students of a network have in common: as many operations as `student_steps` of the one that asks
    nobody.
    """
    return Teaching(
        subject.model,
        subject.two_times,
        functools.partial(guided, subject),
        teacher_cost=2.0,
        budget=config.student_steps * GRADIENT * config.student_batch,
        pairs=0.0,
        batch=config.student_batch,
        optimizer=lambda total: image_training.optimizer(learning(config, total)),
        ema=learning(config, 1).ema,
    )


def guided(subject: Subject, conditioned: NetworkDenoiser) -> Denoiser:
    """The network under guidance everywhere."""
    return guidance.classifier_free(
        conditioned, conditioned.with_condition(networks.NO_TEXT), jnp.float32(subject.guiding.scale), batched=True
    )


def pairs(config: Config, subject: Subject, progress: Progress) -> Pairs:
    """What the guided network draws of captions of its training, with the noise that it begins from."""
    captions, title = subject.taught(config.pairs), f"draw pairs of {subject.name}"
    index, key = np.arange(len(captions)), jax.random.fold_in(jax.random.key(config.seeds[0]), NOISE)
    inputs = (
        teaching(config, subject).teacher,
        subject.params,
        subjects.read(captions).rows(index),
        subject.resolved(config.pair_steps),
    )
    options: dict[str, Any] = {"together": config.together, "title": title, "progress": progress}
    result = few_evaluations.pairs(key, *inputs, subject.model.shape, **options)
    drawing.check_finite(np.asarray(result.clean), index, title)
    return result


def learning(config: Config, total: int) -> Learning:
    """The numbers of so many optimizer steps."""
    rate, warmup = config.student_rate, min(100, max(0, total - 1))
    return Learning(train_steps=total, batch=config.student_batch, learning_rate=rate, warmup=warmup)
