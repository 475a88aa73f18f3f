"""The network, optimizer and training that experiments on digits share; each brings its own schedule, loss and config."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.diffusion.image_model import Model
from experiments.framework import training_loop
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff import networks
from gendiff.core.types import Loss, Params
from gendiff.data import digits
from gendiff.diffusion import objectives, weighting
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch
from gendiff.training import optimizers


@dataclasses.dataclass(frozen=True)
class Learning:
    """The numbers of one training; an experiment's configuration has them as its own fields, or one `Learning` a kind of network."""

    train_steps: int = 1200
    """Optimizer steps."""
    batch: int = 64
    """Images a step."""
    channels: tuple[int, ...] = (16, 32)
    """Channels of the U-Net, at full and at half the size."""
    blocks: int = 1
    """Residual blocks a level."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW; it warms up linearly and falls along a cosine."""
    warmup: int = 100
    """Steps until the learning rate peaks."""
    weight_decay: float = 0.01
    """Weight decay of AdamW on matrices and kernels."""
    clip: float = 1.0
    """Largest global norm of the gradient."""
    ema: float = 0.99
    """Decay of the parameter average that is sampled from, a step."""
    drop_condition: float = 0.1
    """Share of labels replaced by the null label in training."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between lines of metrics."""


def model(
    config: Learning,
    schedule: Schedule,
    parameterization: Parameterization,
    temperature: float = 1.0,
    *,
    convolution: str = "direct",
) -> Model:
    """The class-conditional U-Net of digits on that schedule, its average config's `ema`.

    convolution: "fast_backward" where samplers take gradients through the network (see gendiff/networks/convolution.py).
    """
    made = unet(
        config,
        schedule,
        parameterization,
        shape=(8, 8, 1),
        num_classes=digits.CLASSES,
        levels=digits.LEVELS,
        convolution=convolution,
    )
    return dataclasses.replace(made, names=tuple(str(digit) for digit in range(digits.CLASSES)), temperature=temperature)


def unet(
    config: Learning,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    shape: tuple[int, ...],
    num_classes: int,
    levels: int | None = None,
    convolution: str = "direct",
) -> Model:
    """A class-conditional U-Net of config's `channels` and `blocks` for images of a shape; levels: of a pixel, None for any value."""
    network = networks.UNet(
        channels=config.channels, blocks=config.blocks, attention=(), heads=2, groups=8, num_classes=num_classes, convolution=convolution
    )

    def init(key: jax.Array) -> Params:
        return networks.init(network, key, jnp.zeros((1, *shape)), jnp.zeros((1,)), jnp.zeros((1,), jnp.int32))

    return Model(
        predict=networks.pure(network),
        init=init,
        schedule=schedule,
        parameterization=parameterization,
        shape=shape,
        num_classes=num_classes,
        levels=levels,
        ema=config.ema,
    )


def optimizer(config: Learning) -> optax.GradientTransformation:
    """AdamW by config's numbers. One object for several trainings lets them share a compiled step."""
    return optimizers.adamw(
        config.learning_rate, warmup=config.warmup, total=config.train_steps, weight_decay=config.weight_decay, clip=config.clip
    )


def loss(config: Learning, made: Model) -> Loss:
    """Uniform weight on the squared error of the network's own target, at levels evenly spread in u."""
    return objectives.denoising(
        made.predict, made.schedule, made.parameterization, levels=weighting.stratified_levels(), drop_condition=config.drop_condition
    )


def learn(
    config: Learning, loss: Loss, optimizer: Any, init: Any, data: Batch, folder: RunFolder, progress: Progress, *, seed: int, steps: int
) -> None:
    """One training of `steps` steps by config's `batch`, `ema`, `checkpoint_every` and `log_every`."""
    training_loop.train(
        loss,
        optimizer,
        init,
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


def inside(folder: RunFolder, name: str) -> RunFolder:
    """Where a further training of the run keeps its checkpoints and metrics."""
    found = dataclasses.replace(folder, path=folder.path / name)
    found.path.mkdir(exist_ok=True)
    return found
