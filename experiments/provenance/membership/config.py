"""The numbers of the membership experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images.image_training import IMAGES
from gendiff.core.errors import ConfigError
from gendiff.runs.ranges import Count, Decay, Distinct, Natural, Positive, Seed, Several, Share

Rate = Annotated[float, msgspec.Meta(gt=0, lt=1)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    gain: float = 0.0
    """True positive rate of LiRA less that of the loss attack, both at a false positive rate of `fpr`, at least."""
    chance: Share = 0.02
    """True positive rate of LiRA with shuffled membership at that rate, at most."""
    chance_auc: Share = 0.03
    """Distance of its area under the ROC curve from 0.5, at most."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of halves and of training; each trains all models as one program."""
    shadows: Annotated[int, msgspec.Meta(ge=4, le=256, multiple_of=2)] = 16
    """Shadow models; each picture is in half of them."""
    targets: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Models that are attacked; each picture is in each of them with probability one half."""
    train_steps: Count = 2000
    """Optimizer steps."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=IMAGES // 3)] = 64
    """Pictures per step and model."""
    width: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 192
    """Hidden numbers of a layer."""
    learning_rate: Positive = 1e-3
    """Of Adam, constant after the warm-up."""
    warmup: Natural = 100
    """Steps until it is reached."""
    clip: Positive = 1.0
    """Largest norm of the gradient of a model."""
    ema: Decay = 0.99
    """Decay per step of the parameters that are attacked."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints."""
    log_every: Count = 20
    """Steps between lines of metrics."""
    draws: Count = 32
    """Levels and noises at which the loss of a picture is measured, the same for all pictures and models."""
    fpr: Rate = 0.01
    """False positive rate of the claims."""
    fine_fpr: Rate = 0.001
    """A smaller one, for the table."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.warmup >= config.train_steps:
        raise ConfigError(f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps")
    if config.fine_fpr > config.fpr:
        raise ConfigError(f"--fine-fpr {config.fine_fpr} is above --fpr {config.fpr}")
    least = config.targets * IMAGES // 3
    if config.fine_fpr * least < 1:
        raise ConfigError(f"--fine-fpr {config.fine_fpr} is finer than about {least} non-members of --targets {config.targets} resolve")
