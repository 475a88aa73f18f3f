"""The numbers of the invariance experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.errors import ConfigError
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.samplers import catalogue
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Natural, NonNegative, Positive, Seed, Share

BATCHES = ("alone", "small batches", "shuffled batches", "crowd", "falling", "shuffled", "padded batch")
PROGRAMS = ("padded grid", "fixed count", "chunks", "vmap")
WAYS = BATCHES + PROGRAMS
"""What is drawn together and in which order, and how the program differs, besides the reference: all samples at
once.
"""


@dataclasses.dataclass(frozen=True)
class Config(image_training.SeededLearning):
    """Every number of the experiment, those of `SeededLearning` among them."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of training; each trains a network of its own."""
    train_steps: Count = 600
    """Optimizer steps."""
    channels: image_training.Channels = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    learning_rate: Positive = 1e-3
    """Peak learning rate of AdamW."""
    warmup: Natural = 50
    """Steps until the learning rate peaks."""
    weight_decay: NonNegative = 0.0
    """Weight decay of AdamW on matrices and kernels."""
    checkpoint_every: Count = 300
    """Steps between checkpoints."""
    sampling_steps: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    """Steps of each draw, of one evaluation each but for samplers that need more."""
    guidance: Distinct[NonNegative] = (1.0, 3.0, 7.5)
    """Scales of classifier-free guidance."""
    etas: Distinct[Share] = (0.0, 1.0)
    """Noise scales of DDIM."""
    samples: Annotated[int, msgspec.Meta(ge=8, le=ranges.LARGEST, multiple_of=8)] = 16
    """Samples that are drawn in every way, a multiple of 8 (the devices)."""
    alone: Count = 4
    """How many of them are also drawn one by one."""
    small: Count = 4
    """Samples in a small batch, a divisor of `samples`."""
    crowd: Count = 64
    """Samples in the largest batch."""
    chunk: Count = 5
    """Samples in a chunk."""
    ways: Distinct[str] = WAYS
    """Ways to draw them, besides all at once."""
    sampler_ways: Distinct[str] = ("alone", "shuffled", "chunks")
    """Ways to draw with every sampler of the library, from an exact denoiser."""
    samplers: Distinct[str] = tuple(catalogue.METHODS)
    """Samplers of the library, by their names in its catalogue."""
    trace_steps: Distinct[Annotated[int, msgspec.Meta(ge=2, le=1000)]] = (5, 20, 50)
    """Numbers of steps, each 2 or more, that share one trace."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    ranges.known("ways", config.ways, WAYS)
    ranges.known("sampler-ways", config.sampler_ways, WAYS)
    ranges.known("samplers", config.samplers, catalogue.METHODS)
    if all(catalogue.METHODS[name].learned_variance for name in config.samplers):
        raise ConfigError(
            f"--samplers {ranges.as_typed(config.samplers)}: at least one must do without a learned variance"
        )
    ranges.at_most("alone", config.alone, "samples", config.samples)
    ranges.at_most("samples", config.samples, "crowd", config.crowd)
    if config.samples % config.small:
        raise ConfigError(f"--small {config.small} must divide --samples {config.samples}")


def model(config: Config) -> Model:
    """The network of the digits experiment, in this size."""
    return image_training.unet(config, schedules.flow(), parameterization.flow(), temperature=1.05)
