"""The numbers of the memorise experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images.image_training import IMAGES
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Decay, Distinct, Natural, Positive, Seed, Several, Share

Size = Annotated[int, msgspec.Meta(ge=8, le=IMAGES)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    memorised: Share = 0.9
    """Share of copies among samples of a network of the smallest set at the last step, at least."""
    generalised: Share = 0.05
    """The same of the largest set, at most."""
    slope: float = 0.0
    """Slope of the logarithm of the time of memorisation against that of the number of pictures, at least; 1 means in proportion."""
    copies_slope: float = 0.0
    """Slope of the log-odds that a picture is regenerated against log2 of its copies, at least."""
    p_value: Share = 0.01
    """Largest p-value of that slope, by likelihood ratio and by permutation."""
    often: Share = 0.5
    """Share of the pictures with most copies that are regenerated at least once, at least."""
    once: Share = 0.05
    """The same of pictures that stand once, at most."""
    removed: Share = 0.5
    """How much less of the pictures with most copies are regenerated once the set is de-duplicated, at least."""
    agreement: float = 0.5
    """Mean cosine of samples from the same noise by networks of disjoint sets, less that of shuffled pairs, for the largest such sets."""
    agreement_growth: float = 0.1
    """How much of it the largest sets have more than the smallest, at least."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of sets and of training; each trains a network for every set, all of them as one program."""
    sizes: Distinct[Size] = (64, 128, 256, 512, 1024)
    """Pictures of each set; the smaller sets lie in the larger ones."""
    halves: Distinct[Size] = (64, 512)
    """Sizes that have a second set, disjoint from the first."""
    inside: Size = 512
    """Different pictures of the set in which some stand many times; its de-duplicated form is the set of this size."""
    copies: Distinct[Annotated[int, msgspec.Meta(ge=1, le=1024)]] = (1, 2, 4, 8, 16, 32)
    """How often they stand there."""
    copied: Several = 16
    """How many pictures stand there as often as each of these numbers."""
    train_steps: Count = 10000
    """Optimizer steps, the same for all sets."""
    first: Count = 250
    """The first step at which samples are drawn; from one such step to the next their number grows by half of an octave."""
    batch: Count = 64
    """Pictures per step."""
    width: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 256
    """Hidden numbers of a layer."""
    learning_rate: Positive = 2e-3
    """Of Adam, constant after the warm-up."""
    warmup: Natural = 200
    """Steps until it is reached."""
    clip: Positive = 1.0
    """Largest norm of the gradient of a network."""
    ema: Decay = 0.998
    """Decay per step of the parameters that are sampled from."""
    checkpoint_every: Count = 2000
    """Steps between checkpoints."""
    log_every: Count = 100
    """Steps between lines of metrics."""
    samples: Several = 500
    """Samples of each network at each step of the grid."""
    last_samples: Several = 2000
    """The same at the last step."""
    sampling_steps: Several = 30
    """DDPM steps, which are DDIM steps with fresh noise."""
    ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1 / 3
    """A sample is a copy where its nearest training picture is nearer than this share of the distance to the second nearest one."""
    level: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    """Share of copies that marks the time of memorisation."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    permutations: Several = 10000
    """Random orders behind the p-value by permutation, at least 1 / p_value."""
    thresholds: Thresholds = Thresholds()


def grid(config: Config) -> tuple[int, ...]:
    """The steps at which samples are drawn, the last one included."""
    steps, at = [], float(config.first)
    while round(at) < config.train_steps:
        steps.append(round(at))
        at *= 2**0.5
    return (*steps, config.train_steps)


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("sizes", "halves", "copies"):
        ranges.rising(name, getattr(config, name))
        if len(getattr(config, name)) < 2:
            raise ConfigError(f"--{name} {ranges.shown(getattr(config, name))} must be two or more: what grows with them is asked for")
    for size in (*config.halves, config.inside):
        ranges.among("inside" if size == config.inside else "halves", size, "sizes", config.sizes)
    if 2 * config.halves[-1] > IMAGES:
        raise ConfigError(f"--halves {ranges.shown(config.halves)}: two disjoint sets of the last need more than {IMAGES} digits")
    if len(config.copies) * config.copied > config.inside:
        raise ConfigError(f"--copied {config.copied} of each of --copies are more than --inside {config.inside}")
    ranges.at_most("batch", config.batch, "sizes", config.sizes[0])
    ranges.at_most("first", config.first, "train-steps", config.train_steps)
    if config.warmup >= config.train_steps:
        raise ConfigError(f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps")
