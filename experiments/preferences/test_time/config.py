"""The numbers of the test-time experiment."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.tasks import addition
from gendiff.commands.images import image_training
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Seed, Several, Share

Width = Annotated[int, msgspec.Meta(ge=4, le=4096, multiple_of=4)]


@dataclasses.dataclass(frozen=True)
class Pictures(image_training.Learning):
    """The part with pictures: a network of digits that is told no labels, and verifiers that choose among its
    pictures.
    """

    train_steps: Count = 1000
    """Optimizer steps."""
    drop_condition: Share = 1.0
    """Share of labels replaced by the null label in training: all, so that nothing but the choice decides which digit a
    picture shows.
    """
    sampling_steps: Several = 20
    """DDIM steps per picture."""
    sets: Several = 60
    """Sets of as many pictures as --samples; each digit is chosen from each set."""
    together: Count = 640
    """Pictures drawn in one call."""
    few: Annotated[int, msgspec.Meta(ge=10, le=600, multiple_of=10)] = 30
    """Digits that the weak verifier has seen, as many of each class."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of training."""
    digits: Annotated[int, msgspec.Meta(ge=1, le=addition.MOST_DIGITS - 1)] = 4
    """Digits of each number of a sum."""
    small: Width = 24
    """Channels of a token of the small networks."""
    large: Width = 64
    """Channels of a token of the large one."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Blocks of each."""
    train_steps: Count = 1200
    """Optimizer steps of each network of sums."""
    halvings: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    """The small network is also trained on half, a quarter, … of these steps: so often they are halved."""
    batch: Count = 128
    """Sums per step, none of which is held out."""
    warmup: Natural = 100
    """Steps until the learning rate peaks, in a training of --train-steps; shorter ones have as large a share of
    them.
    """
    pool: Annotated[int, msgspec.Meta(ge=2, le=2**24)] = 32768
    """Answers of the small network to training sums, from which the verifier learns."""
    questions: Several = 1000
    """Held-out sums, each in one order."""
    samples: Annotated[int, msgspec.Meta(ge=4, le=4096)] = 64
    """Samples per question: a power of 2."""
    noises: Distinct[Positive] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    """Standard deviations of the noise of verifiers that add it to 1 for a right answer and 0 for a wrong one."""
    doublings: Count = 3
    """Doublings of samples, from one on, whose mean gain is held against the last doubling of training."""
    pictures: Pictures = Pictures()
    """The part with pictures."""


def counts(config: Config) -> tuple[int, ...]:
    """Numbers of samples at which everything is measured: 1, 2, 4, … samples."""
    return tuple(2**power for power in range(config.samples.bit_length()))


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.large <= config.small:
        raise ConfigError(f"--large {config.large} must be above --small {config.small}")
    shortest = config.train_steps >> config.halvings
    if config.warmup >> config.halvings >= shortest:
        lengths = f"with --halvings {config.halvings} the shortest training has {shortest} of them"
        raise ConfigError(
            f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps, and "
            f"{lengths}"
        )
    if config.samples & (config.samples - 1):
        raise ConfigError(f"--samples {config.samples} must be a power of 2: blocks of 1, 2, 4, … samples fill it")
    if 2**config.doublings > config.samples:
        raise ConfigError(f"--doublings {config.doublings} of one sample are more than --samples {config.samples}")
    ranges.rising("noises", config.noises)
    if config.questions > (most := addition.unordered(config.digits) // 2):
        raise ConfigError(
            f"--questions {config.questions} is above {most}, half of the pairs of --digits {config.digits}"
        )
    if config.batch > config.pool:
        raise ConfigError(
            f"--batch {config.batch} is above --pool {config.pool}, from which the verifier's batches come"
        )
    image_training.check(config.pictures, "pictures.")
