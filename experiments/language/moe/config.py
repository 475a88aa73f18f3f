"""The numbers of the moe experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import Recipe
from gendiff.core.errors import ConfigError
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Seed, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    balance: Positive = 1.05
    """Balance loss per block on held-out text at the end of training, 1 where experts are evenly used, at most."""
    busiest: Positive = 1.5
    """Share of the busiest expert of a block over an even share, at most."""
    collapsed: Positive = 2.0
    """The same without the balance loss: at least, in a median over seeds."""
    better: float = 0.0
    """Held-out loss less that of a dense network with as much computation per token, in nats per byte, at most."""
    operations: Positive = 0.6
    """Operations per token over those of a dense network with as many parameters, at most."""
    seconds: Positive = 0.9
    """Seconds of a training step over those of that network, at most."""


@dataclasses.dataclass(frozen=True)
class Config(Recipe):
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of training; each trains every network."""
    train_steps: Count = 1000
    """Optimizer steps."""
    batch: Count = 16
    """Rows of text per step."""
    length: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 128
    """Bytes of a row."""
    width: Annotated[int, msgspec.Meta(ge=8, le=2048, multiple_of=8)] = 128
    """Channels of a token."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Blocks."""
    experts: Annotated[int, msgspec.Meta(ge=2, le=64)] = 8
    """MLPs of a block, each of the width of a token."""
    top_k: Annotated[int, msgspec.Meta(ge=2, le=64)] = 2
    """How many of them each token goes to. Of one alone the weight would always be 1, from which its router learns nothing."""
    balance_weight: NonNegative = 0.01
    """Weight of the balance loss."""
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.15
    """Share of the documents that is not trained on."""
    judged: Several = 256
    """Rows of held-out text."""
    rounds: Several = 9
    """Times that a training step is timed."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.top_k >= config.experts:
        raise ConfigError(f"--top-k {config.top_k} must be below --experts {config.experts}, or nothing is spared")
    if config.warmup >= config.train_steps:
        raise ConfigError(f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps")
    image_training.check_batch(config, images=2**20)
