"""The numbers of the quantise experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import JudgedLearning
from gendiff.core.errors import ConfigError
from gendiff.runs.ranges import Count, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    saved_int8: float = 1.9
    """Bytes of the language model in bfloat16 over those in 8 bits, at least."""
    saved_int4: float = 3.4
    """The same in 4 bits."""
    lost_int8: float = 0.01
    """Growth of the mean negative log-likelihood of real text in 8 bits, in nats per token, at most."""
    lost_int4: float = 0.1
    """The same in 4 bits; 4 bits without groups must lose more."""
    answers_int8: float = 0.05
    """Fall of the share of answered questions in 8 bits, at most."""
    answers_int4: float = 0.1
    """The same in 4 bits."""
    images: float = 1.0
    """Change of the Fréchet distance of digits in 8 bits, over the range of the seeds in float32, at most."""
    images_int4: float = 1.0
    """The same in 4 bits."""
    channel: float = 0.01
    """Relative error of 8 bits per output beside one that is 30 times as large, at most."""
    tensor: float = 0.1
    """The same with one scale for all outputs: at least."""


@dataclasses.dataclass(frozen=True)
class Config(JudgedLearning):
    """Every number of the experiment. Those of training are of the transformer of digits."""

    train_steps: Count = 1600
    """Optimizer steps."""
    width: Annotated[int, msgspec.Meta(ge=8, le=1024, multiple_of=8)] = 128
    """Channels of a token of the transformer of digits."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=32)] = 4
    """Its blocks."""
    sampling_steps: Several = 50
    """DDIM steps."""
    samples: image_training.Balanced = 2000
    """Samples of each set, class-balanced."""
    tokens: Annotated[int, msgspec.Meta(ge=64, le=65536)] = 4000
    """Tokens of real text whose likelihood is measured."""
    piece: Annotated[int, msgspec.Meta(ge=16, le=4096)] = 1000
    """Tokens that are read together; each piece begins anew."""
    questions: Annotated[int, msgspec.Meta(ge=4, le=100)] = 100
    """How many of the hundred questions are asked, from the first on."""
    max_tokens: Count = 32
    """Tokens of an answer, at most."""
    rounds: Several = 9
    """Times that a step is timed."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    tiny: bool = False
    """Take a small network with random weights in place of SmolLM2: to see that everything runs."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    if config.tokens < 2 * config.piece:
        raise ConfigError(f"--tokens {config.tokens} must hold at least two of --piece {config.piece}: intervals are over pieces")
