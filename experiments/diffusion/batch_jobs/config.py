"""The numbers of the experiment on batch jobs."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.errors import ConfigError
from gendiff.diffusion import parameterization, schedules
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Natural, NonNegative, Positive, Seed, Several


@dataclasses.dataclass(frozen=True)
class Config(image_training.SeededLearning):
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0,)
    """Seed of the network that is sampled."""
    channels: image_training.Channels = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    samples: Annotated[int, msgspec.Meta(ge=80, le=ranges.LARGEST)] = 50_000
    """Samples drawn into shards."""
    compared: Count = 20_000
    """The first of them, drawn once more without shards."""
    shard_size: Several = 1000
    """Samples per shard."""
    rounds: Several = 10
    """Pairs of timings, one after the other, in which these are drawn, whole shards in each."""
    together: Count = 500
    """Samples drawn in one call."""
    sampling_steps: Count = 50
    """DDIM steps."""
    killed_samples: Natural = 3000
    """Samples of the job that is killed."""
    killed_shard_size: Count = 100
    """Samples per shard of that job."""
    sample_kills: Natural = 6
    """How often that job is killed with signal 9."""
    kills: Natural = 20
    """How often training runs are killed with signal 9, in all."""
    killed_steps: Count = 1500
    """Optimizer steps of a training run that is killed."""
    killed_every: Count = 20
    """Steps between its checkpoints."""
    shortest: NonNegative = 3.0
    """Least life of a process before it is killed, in seconds."""
    longest: Positive = 20.0
    """Longest life, in seconds; lives are uniform between the two."""
    preemptions: Natural = 3
    """How often a training of two processes is preempted; 1, 2 and 4 processes go on from its checkpoint."""
    deaths: Natural = 6
    """How often one of two processes that train is killed with signal 9."""
    moved_steps: Annotated[int, msgspec.Meta(ge=8, le=ranges.LARGEST)] = 80
    """Optimizer steps of a training of several processes."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    if config.compared % (config.shard_size * config.rounds):
        product = f"--shard-size {config.shard_size} times --rounds {config.rounds}"
        raise ConfigError(
            f"--compared {config.compared} must be a multiple of {product}: each round draws whole shards"
        )
    ranges.at_most("compared", config.compared, "samples", config.samples)
    ranges.at_most("together", config.together, "samples", config.samples)
    ranges.at_most("shortest", config.shortest, "longest", config.longest)
    if config.preemptions == 1:
        raise ConfigError("--preemptions 1 has no other seed to compare with: give 0, 2 or more")
    if (config.killed_samples > 0) != (config.sample_kills > 0):
        raise ConfigError(
            f"--killed-samples {config.killed_samples} and --sample-kills {config.sample_kills}: both must be 0, or "
            "neither"
        )


def model(config: Config) -> Model:
    """The network of the experiment `digits`."""
    return image_training.unet(config, schedules.flow(), parameterization.flow(), temperature=1.05)
