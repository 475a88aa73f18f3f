"""The numbers of the study."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.edge.adders import Adder
from gendiff.commands.images import image_training
from gendiff.core.errors import ConfigError
from gendiff.runs.ranges import Count, Positive, Several


@dataclasses.dataclass(frozen=True)
class Config(image_training.SeededLearning):
    """The numbers that are turned. Those of a training, and `seeds`, are of the network of digits."""

    adder: Adder = Adder()
    """Of the adders."""
    pictures: Annotated[int, msgspec.Meta(ge=20, le=450)] = 450
    """Held-out digits."""
    draws: Several = 16
    """Levels of noise behind each number of bits."""
    levels: Count = 4
    """Levels of noise at which digits are denoised."""
    together: Count = 150
    """Pictures that are read or drawn in one call."""
    sums: Several = 100
    """Sums of each length that SmolLM2 is asked for."""
    questions: Annotated[int, msgspec.Meta(ge=4, le=100)] = 100
    """Questions of each kind, from the first on."""
    max_tokens: Count = 32
    """Tokens of an answer, at most."""
    tiny: bool = False
    """Ask a small network with random weights in place of SmolLM2: to see that everything runs."""
    prompts: Several = 150
    """Captions of each kind, each with one picture."""
    scale: Positive = 2.0
    """Guidance scale of scenes: that at which seen captions are met best."""
    sampling_steps: Several = 16
    """Steps of UniPC of order 2."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    if config.adder.warmup >= config.adder.train_steps:
        raise ConfigError(
            f"--adder.warmup {config.adder.warmup} must be below --adder.train-steps {config.adder.train_steps}"
        )
