"""The network, optimizer and training that experiments on digits share; each brings its own schedule, loss and
config.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax

from gendiff import networks
from gendiff.commands.images import image_model
from gendiff.commands.images.image_model import Model
from gendiff.core.errors import ConfigError
from gendiff.core.types import Condition, Config, Params
from gendiff.data import digits
from gendiff.diffusion.distillation import Pairs
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch
from gendiff.pipelines import trained_run
from gendiff.runs import dtypes, ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Decay, Distinct, Natural, NonNegative, Positive, Seed, Several, Share
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.run_folder import RunFolder
from gendiff.training import optimizers

IMAGES = 1347
"""Digits to train on."""
_Width: TypeAlias = Annotated[int, msgspec.Meta(ge=8, le=4096, multiple_of=8)]
Channels: TypeAlias = Annotated[tuple[_Width, ...], msgspec.Meta(min_length=1, max_length=4)]
"""Of a U-Net of at most four sizes, for images of 8×8 pixels."""
Optimizer: TypeAlias = Literal["adamw", "muon"]
Balanced: TypeAlias = Annotated[int, msgspec.Meta(ge=20, le=ranges.LARGEST, multiple_of=digits.CLASSES)]
"""Samples of digits that are judged, as many of each class."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The numbers of a training but its length."""

    batch: Count = 64
    """Images per step."""
    channels: Channels = (16, 32)
    """Channels of the U-Net, at full and at half the size."""
    blocks: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    """Residual blocks per level."""
    optimizer: Optimizer = "adamw"
    """adamw, or muon: Muon on matrices and kernels, and AdamW on the rest. Muon compiles for longer."""
    learning_rate: Positive = 2e-3
    """Peak learning rate of AdamW, to which it warms up linearly. In a training of given length it then falls along a
    cosine.
    """
    muon_learning_rate: Positive = 0.02
    """The same of Muon."""
    warmup: Natural = 100
    """Steps of learning-rate warm-up, until the rate peaks."""
    weight_decay: NonNegative = 0.01
    """Weight decay of matrices and kernels."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    ema: Decay = 0.99
    """Decay per step of the parameter average that is sampled from."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""


@dataclasses.dataclass(frozen=True)
class Learning(Recipe):
    """The numbers of one training; an experiment's configuration has them as its own fields, or one `Learning` per kind
    of network.
    """

    train_steps: Count = 1200
    """Optimizer steps."""
    drop_condition: Share = 0.1
    """Share of labels replaced by the null label in training."""


@dataclasses.dataclass(frozen=True)
class SeededLearning(Learning):
    """The numbers of an experiment that trains one network of digits per seed."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of training; each trains a network of its own."""


@dataclasses.dataclass(frozen=True)
class JudgedLearning(SeededLearning):
    """Those of one whose samples `image_judge` measures."""

    samples: Balanced = 5000
    """Samples of each set, class-balanced."""
    together: Count = 500
    """Samples drawn in one call."""
    draws: Several = 20
    """Draws behind each Fréchet distance, precision and recall."""
    draw_size: Annotated[int, msgspec.Meta(ge=4, le=IMAGES)] = 1000
    """Samples in a draw; at most as many as there are training digits."""


def check(config: Learning, within: str = "", *, images: int = IMAGES) -> None:
    """ConfigError where the numbers of a training do not fit each other. within: what precedes their options. images:
    of the training.
    """
    if config.warmup >= config.train_steps:
        raise ConfigError(
            f"--{within}warmup {config.warmup} must be below --{within}train-steps {config.train_steps}: both count "
            "steps"
        )
    check_batch(config, within, images=images)


def check_batch(config: Recipe, within: str = "", *, images: int = IMAGES) -> None:
    """ConfigError for a batch of more images than there are."""
    if config.batch > images:
        raise ConfigError(f"--{within}batch {config.batch} is outside 1 … {images}, the number of training images")


def check_side(config: Recipe, within: str, side: int) -> None:
    """ConfigError where images of `side` pixels cannot be halved as often as the U-Net does."""
    if side % 2 ** (len(config.channels) - 1):
        raise ConfigError(
            f"--{within}channels {ranges.as_typed(config.channels)}: {side}×{side} cannot be halved so often; give "
            "fewer"
        )


SMOKE: dict[str, Any] = {"train_steps": 4, "warmup": 1, "batch": 16, "channels": (8,)}  # fields of several records
"""Of a training that only has to run."""


def unet(
    config: Recipe,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    shape: tuple[int, ...] = (8, 8, 1),
    num_classes: int = digits.CLASSES,
    levels: int | None = digits.LEVELS,
    temperature: float = 1.0,
    convolution: str = "direct",
    dtype: str = "float32",
    second_time: bool = False,
) -> Model:
    """A class-conditional U-Net of config's `channels` and `blocks`, by default for digits. Its average is the one of
    config's `ema`.

    convolution: "fast_backward" where samplers take gradients through the network (see
        gendiff/networks/layers/convolution.py).
    dtype: that it computes in. second_time: whether it is told one. Others: of Model.
    """
    network = networks.UNet(
        channels=config.channels,
        blocks=config.blocks,
        attention=(),
        heads=2,
        groups=8,
        num_classes=num_classes,
        convolution=convolution,
        dtype=dtypes.of_network(dtype),
        second_time=second_time,
    )
    init, names = _init(network, (1, *shape)), tuple(map(str, range(num_classes)))
    what = networks.pure(network), init, schedule, parameterization
    return Model(*what, shape, num_classes, levels, names, config.ema, temperature)


@functools.lru_cache  # one object, so that all trainings of a network share a compiled start
def _init(network: networks.UNet, shape: tuple[int, ...]) -> Callable[[jax.Array], Params]:
    condition: list[Condition] = [
        jnp.zeros((1,), jnp.int32),
        *([networks.EndTime(jnp.zeros((1,)))] if network.second_time else []),
    ]
    return lambda key: networks.init(network, key, jnp.zeros(shape), jnp.zeros((1,)), *condition)


_adamw, _muon = functools.lru_cache(optimizers.adamw), functools.lru_cache(optimizers.muon)
"""One object each, so that all trainings by the same numbers share a compiled step."""


def optimizer(config: Learning) -> optax.GradientTransformation:
    """By config's numbers."""
    return _optimizer(config, config.train_steps)


def steady_optimizer(config: Recipe) -> optax.GradientTransformation:
    """By config's numbers; the learning rate stays at its peak, so that a short training is the beginning of a longer
    one.
    """
    return _optimizer(config, config.warmup + 1, decay="constant")


def _optimizer(config: Recipe, total: int, decay: str = "cosine") -> optax.GradientTransformation:
    rate = config.learning_rate
    if config.optimizer == "muon":
        build = functools.partial(_muon, config.muon_learning_rate, adam_learning_rate=rate)
    else:
        build = functools.partial(_adamw, rate)
    return build(total=total, decay=decay, warmup=config.warmup, weight_decay=config.weight_decay, clip=config.clip)


def digits_batch(split: digits.Split, shuffled: int | None = None) -> Batch:
    """The training digits with their labels. shuffled: a seed of the labels' order; a network that learns such labels
    learns no class.
    """
    labels = split.train_labels if shuffled is None else np.random.default_rng(shuffled).permutation(split.train_labels)
    return Batch(clean=split.train_images, condition=(labels,))


def train(
    config: Learning,
    model: Model,
    data: Batch | Pairs | Callable[[int], Batch],
    folder: RunFolder,
    progress: Progress,
    *,
    seeds: Iterable[int],
    **options: Any,  # each is checked by the function that takes it
) -> None:
    """Trains the model once per seed by config's numbers. data: all of it, or a function of the step, which goes with
    `batch=None`. Pairs need a loss of their own.

    The loss is `image_model.loss`, the optimizer `optimizer`.
    options: of `training_loop.train` and `compile_loss`, in place of these.
    """
    chosen: dict[str, Any] = {  # as `options`
        "loss": image_model.loss(model, config.drop_condition),
        "optimizer": optimizer(config),
        "steps": config.train_steps,
        "batch": config.batch,
        "ema": (config.ema,),
        "ema_warm_up": False,  # the committed results come from averages without it
        "checkpoint_every": config.checkpoint_every,
        "log_every": config.log_every,
        "rules": model.rules,
        "description": description(model),
    } | options
    compiling = {name: chosen.pop(name) for name in ("loss", "optimizer", "ema", "ema_warm_up", "rules")}
    program = training_loop.compile_loss(init=model.init, folder=folder, **compiling)
    for seed in seeds:
        training_loop.train(program, data, seed=seed, folder=folder, progress=progress, **chosen)


def description(model: Model) -> Config | None:
    """What `pipelines.open_run` reads from a checkpoint."""
    facts = functools.partial(trained_run.describe, shape=model.shape, classes=model.classes, data_levels=model.levels)
    return facts(model.predict, model.schedule, model.parameterization, temperature=model.temperature, ema=model.ema)


def per_seed(model: Callable[..., Model]) -> Callable[..., None]:
    """The `train` of an experiment that trains one network of digits per seed. model: from its configuration to its
    network.
    """

    def train_each(config: SeededLearning, folder: RunFolder, progress: Progress) -> None:
        train(config, model(config), digits_batch(digits.load()), folder, progress, seeds=config.seeds)

    return train_each


def averaged(model: Model, folder: RunFolder, seed: int, step: int | None = None) -> Params:
    """The averaged parameters of one seed's training. step: as of `training_loop.restore_ema`."""
    return training_loop.restore_ema(model.init, folder, seed=seed, step=step, decay=model.ema)


def loss_curve(label: str, folder: RunFolder, seed: int, name: str = "loss", width: int = 20) -> Curve:
    """A metric of the training log against the step, as a mean over `smoothed` lines."""
    lines = folder.read_metrics(seed)
    step, value = (np.array([line[key] for line in lines], np.float64) for key in ("step", name))
    width = smoothed(len(value), width)
    return Curve(label, step[width - 1 :], np.convolve(value, np.ones(width) / width, mode="valid"))


def smoothed(lines: int, most: int = 20) -> int:
    """How many lines of a log of so many are averaged: at most a fifth, so that a short log is a curve and not a
    point.
    """
    return max(1, min(most, lines // 5))
