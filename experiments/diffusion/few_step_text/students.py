"""A student that draws in few evaluations and without guidance what the guided network draws in many: guidance is distilled by reflow.

The network draws a picture of each caption of its training under guidance. The student begins as the network and learns the straight way
from each noise to its picture, told the caption. Captions that are judged are not among them.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import few_evaluations, image_training
from experiments.diffusion.few_step_text import subjects
from experiments.diffusion.few_step_text.config import Config
from experiments.diffusion.few_step_text.subjects import Subject
from experiments.diffusion.image_model import Model
from experiments.diffusion.image_training import Learning
from experiments.framework import drawing
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff import networks
from gendiff.core.types import Params
from gendiff.diffusion import denoiser, distillation, guidance, weighting
from gendiff.diffusion.distillation import Pairs
from gendiff.diffusion.types import Denoiser

NOISE = 2**32 - 2
"""What the key of the pairs folds in, so that their noise is that of no other picture."""


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The student of each network, with the first seed."""
    for name in config.networks:
        subject, place = subjects.opened(config, name, progress), folder.inside(name)
        with progress.phase(f"distil {name}"):
            model, data = _begun(config, subject), pairs(config, subject, progress)
            levels = weighting.stratified_levels()
            loss = distillation.reflow(model.predict, model.schedule, model.parameterization, levels=levels)
            options: dict[str, Any] = {"seeds": config.seeds[:1], "loss": loss, "ema_warm_up": True}
            image_training.train(_learning(config), model, data, place, progress, **options)


def restore(config: Config, subject: Subject, folder: RunFolder) -> Params:
    """The averaged parameters of the student of a network."""
    return image_training.averaged(_begun(config, subject), folder.inside(subject.name), config.seeds[0])


def pairs(config: Config, subject: Subject, progress: Progress) -> Pairs:
    """What the guided network draws of captions of its training, with the noise that it begins from."""
    model, levels, scale = subject.model, subject.resolved(config.pair_steps), jnp.float32(subject.guiding.scale)
    captions, title = subject.taught(config.pairs), f"draw pairs of {subject.name}"
    index = np.arange(len(captions))
    key = jax.random.fold_in(jax.random.key(config.seeds[0]), NOISE)

    def told(params: Params, words: networks.Text) -> Denoiser:
        given = denoiser.from_network(model.predict, params, model.parameterization, words)
        return guidance.classifier_free(given, given.with_condition(networks.NO_TEXT), scale, batched=True)

    options: dict[str, Any] = {"together": config.together, "title": title, "progress": progress}
    drawn = few_evaluations.pairs(key, told, subject.params, subjects.read(captions).rows(index), levels, model.shape, **options)
    drawing.check_finite(np.asarray(drawn.clean), index, title)
    return drawn


def _begun(config: Config, subject: Subject) -> Model:
    """The network, whose training begins at its own parameters, with the average of the student."""
    return dataclasses.replace(subject.model, init=lambda key: subject.params, ema=_learning(config).ema)


def _learning(config: Config) -> Learning:
    return Learning(
        train_steps=config.student_steps,
        batch=config.student_batch,
        learning_rate=config.student_rate,
        warmup=min(100, config.student_steps - 1),
        checkpoint_every=config.checkpoint_every,
    )
