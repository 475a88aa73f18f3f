"""The numbers of the gan-stability experiment."""

import dataclasses
from typing import Annotated, TypeAlias

import msgspec

from experiments.adversarial.methods import DIFFUSION, METHODS, VANILLA
from experiments.adversarial.training_numbers import Numbers
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Decay, Distinct, Positive, Seed, Several

_Part: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=1)]
NEEDED = (VANILLA, DIFFUSION)
"""Methods about which there are claims."""
EXACT, NOISE = "exact sampler", "uniform noise"
"""The controls."""


@dataclasses.dataclass(frozen=True)
class Success:
    """What a run must reach to count as one that succeeded."""

    modes: Count = 25
    """Modes of the grid that it covers, at least."""
    good: _Part = 0.8
    """Share of good samples, which it must exceed."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds of training."""
    paces: Distinct[Positive] = (0.25, 1.0, 4.0)
    """Factors of each method's own learning rates, ascending. All seeds at all paces are trained by one program."""
    methods: Distinct[str] = (*METHODS, DIFFUSION)
    """What is compared."""
    points: Numbers = Numbers(flops=5e10, samples=1000)
    """As in gan-modes, for shorter trainings."""
    ema: Decay = 0.99
    """Decay of the average of its parameters that every method draws from."""
    shares: Distinct[Annotated[float, msgspec.Meta(gt=0, le=1)]] = (0.1, 0.25, 0.5, 1.0)
    """Places of a training, as shares of its steps, at which averages draw samples; the last is 1."""
    success: Success = Success()
    sampling_steps: Several = 20
    """Steps of the diffusion model's sampler, each of two evaluations."""
    settled: _Part = 0.5
    """Share of a training after which its losses and the modes of its samples are followed."""
    intervals: Several = 20
    """Equal parts of the rest, at whose ends the parameters themselves draw samples."""
    slowest: Annotated[int, msgspec.Meta(ge=4, le=65536)] = 128
    """Longest swing of a loss that counts, in steps. Longer ones are a trend."""
    fastest: Annotated[int, msgspec.Meta(ge=3, le=65536)] = 8
    """Shortest swing of a loss that counts, in steps. Shorter ones are the noise of batches."""


def followed(config: Config) -> tuple[float, ...]:
    """Shares of a training at which the modes of samples are counted; the last is 1."""
    step = (1 - config.settled) / config.intervals
    return tuple(round(config.settled + step * number, 6) for number in range(config.intervals + 1))


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.known("methods", config.methods, (*METHODS, DIFFUSION))
    if missing := [name for name in NEEDED if name not in config.methods]:
        raise ConfigError(
            f"--methods {ranges.as_typed(config.methods)}: {missing[0]} must be among them, since claims are about it"
        )
    for name in ("paces", "shares"):
        ranges.rising(name, getattr(config, name))
    if config.shares[-1] != 1:
        raise ConfigError(f"--shares {ranges.as_typed(config.shares)}: the last must be 1, the end of a training")
    ranges.at_most("points.samples", config.points.samples, "points.last-samples", config.points.last_samples)
    if config.fastest >= config.slowest:
        raise ConfigError(f"--fastest {config.fastest} must be below --slowest {config.slowest}: both count steps")
