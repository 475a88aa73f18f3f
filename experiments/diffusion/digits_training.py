"""How an experiment trains one network on digits: the optimizer and the loop, from the numbers of its configuration."""

from typing import Any

import optax

from experiments import training_loop
from experiments.progress import Progress
from experiments.registry import Model
from experiments.run_folder import RunFolder
from gendiff import objectives, weighting
from gendiff.core.types import Batch
from gendiff.training import optimizers


def optimizer(config: Any) -> optax.GradientTransformation:
    """AdamW as the configuration says. Trainings that are given the same one share a compiled step."""
    return optimizers.adamw(
        config.learning_rate, warmup=config.warmup, total=config.train_steps, weight_decay=config.weight_decay, clip=config.clip
    )


def train(
    config: Any,
    model: Model,
    optimizer: optax.GradientTransformation,
    progress: Progress,
    folder: RunFolder,
    seed: int,
    steps: int,
    data: Batch,
) -> None:
    """`steps` steps of one seed, on levels drawn stratified, with a share of the labels dropped; left in the folder."""
    loss = objectives.diffusion(
        model.predict, model.schedule, model.parameterization, levels=weighting.stratified_levels(), drop_condition=config.drop_condition
    )
    training_loop.train(
        loss,
        optimizer,
        model.init,
        data,
        seed=seed,
        steps=steps,
        batch=config.batch,
        folder=folder,
        progress=progress,
        ema=(config.ema,),
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )
