"""The trainings: every recipe with every seed in parts, and plain training with the seeds of the control."""

from collections.abc import Callable
from typing import Any

import jax

from experiments.diffusion import few_evaluations
from experiments.diffusion.part_averages import PartAverages
from experiments.diffusion.training_recipes import networks
from experiments.diffusion.training_recipes.config import Config
from experiments.diffusion.training_recipes.recipes import ALIGNED, BASES, UNTAUGHT
from gendiff.commands.images import image_training
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import TrainState, optimizers

CLASSIFIER = "classifier"
"""Folder of the classifier."""


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each training goes on where it was. Nothing of a step depends on how many follow, so the parts are one training."""
    if ALIGNED in config.names:
        progress.line("train a classifier")
        _train_classifier(config, folder, progress)
    for name in config.names:
        progress.line(f"train: {name}")
        arguments = training(config, folder, name)
        for seed in seeds(config, name):
            with progress.phase(name, seed=seed):
                _in_parts(config, name, seed, arguments, folder, progress)


def training(config: Config, folder: RunFolder, name: str) -> dict[str, Any]:
    """The arguments of `training_loop.train` that name the training of a recipe."""
    model = networks.model(config, name)
    loss = networks.loss(config, name, model, features(config, folder, name))
    optimizer, init = networks.optimizer(config, name), networks.init(config, name, model)
    return {
        "program": training_loop.compile_loss(loss, optimizer, init, folder, ema=(config.ema,), ema_warm_up=True),
        "data": image_training.digits_batch(digits.load()),
        "batch": config.batch,
    }


def features(config: Config, folder: RunFolder, name: str) -> Callable[[Any], jax.Array] | None:
    """What a recipe is aligned with: the classifier, as it is trained or as it began; None for others."""
    if name == ALIGNED:
        return networks.features(config, classifier(config, folder))
    if name == UNTAUGHT:
        return networks.features(config, jax.jit(networks.init_classifier(config))(jax.random.key(min(config.seeds))))
    return None


def seeds(config: Config, name: str) -> tuple[int, ...]:
    """Those that a recipe trains with."""
    return (*config.seeds, *config.control_seeds) if name in BASES else config.seeds


def averages(config: Config, folder: RunFolder, name: str, seed: int) -> PartAverages:
    """Of one training, the averages after each part."""
    start = networks.init(config, name, networks.model(config, name))
    return PartAverages(place(folder, name).path, seed, len(config.parts), start)


def classifier(config: Config, folder: RunFolder) -> Params:
    """Its parameters, trained."""
    return training_loop.restore_params(networks.init_classifier(config), folder.inside(CLASSIFIER), seed=min(config.seeds))


def place(folder: RunFolder, name: str) -> RunFolder:
    """Where the checkpoints and metrics of a recipe lie."""
    return folder.inside(few_evaluations.word(name))


def _in_parts(config: Config, name: str, seed: int, arguments: dict[str, Any], folder: RunFolder, progress: Progress) -> None:
    every: dict[str, Any] = {"checkpoint_every": config.checkpoint_every, "log_every": config.log_every}

    def train_part(part: int) -> TrainState:
        of = place(folder, name)
        return training_loop.train(**arguments, seed=seed, steps=config.parts[part], folder=of, progress=progress, **every)

    averages(config, folder, name, seed).fill(train_part)


def _train_classifier(config: Config, folder: RunFolder, progress: Progress) -> None:
    of = config.transformer
    rate: dict[str, Any] = {"warmup": min(config.warmup, of.classifier_steps - 1), "total": of.classifier_steps}
    optimizer = optimizers.adamw(of.learning_rate, **rate, weight_decay=config.weight_decay, clip=config.clip)
    training_loop.train(
        training_loop.compile_loss(networks.classifying(config), optimizer, networks.init_classifier(config), folder),
        image_training.digits_batch(digits.load()),
        batch=config.batch,
        seed=min(config.seeds),
        steps=of.classifier_steps,
        folder=folder.inside(CLASSIFIER),
        progress=progress,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )
