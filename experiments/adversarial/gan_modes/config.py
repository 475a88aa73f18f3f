"""The numbers of the gan-modes experiment."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.adversarial.methods import DIFFUSION, METHODS, PENALISED, VANILLA
from experiments.adversarial.recipes import Shape
from experiments.adversarial.targets import PICTURES, POINTS, RING, TARGETS
from experiments.adversarial.training_numbers import Numbers
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Decay, Distinct, Seed, Several

NEEDED = (VANILLA, PENALISED, DIFFUSION)
"""Methods about which there are claims."""
EXACT, NOISE = "exact sampler", "uniform noise"
"""The controls."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds of training, all of them trained by one program."""
    methods: Distinct[str] = (*METHODS, DIFFUSION)
    """What is compared."""
    targets: Distinct[str] = TARGETS
    """What is learned: the ring, the grid, stacked digits."""
    points: Numbers = Numbers()
    """For the ring and the grid."""
    ring_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.32
    """Operations of a training on the ring, as a share of those on the grid: so many times fewer modes has the ring."""
    pictures: Numbers = Numbers(
        flops=3e11,
        width=128,
        depth=2,
        noise=64,
        waves=0,
        learning_rate=5e-4,
        gradient_weight=10.0,
        slopes_weight=1.0,
        last_samples=26000,
    )
    """For stacked digits. Of 26,000 samples, as papers draw, a tenth of the fair share is 3; of 10,000 it would be a
    single one.
    """
    ema: Decay = 0.99
    """Decay of the average of its parameters that every method draws from."""
    shares: Distinct[Annotated[float, msgspec.Meta(gt=0, le=1)]] = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    """Places of a training, as shares of its steps, at which samples are drawn; the last is 1."""
    sampling_steps: Several = 20
    """Steps of the diffusion model's sampler, each of two evaluations."""
    transported: Annotated[int, msgspec.Meta(ge=2, le=4096)] = 1000
    """Samples whose distance to as many real ones is measured."""


def numbers(config: Config, target: str) -> Numbers:
    """Those of the kind of data that a target is."""
    if target == RING:
        return dataclasses.replace(config.points, flops=config.ring_share * config.points.flops)
    return config.points if target in POINTS else config.pictures


def shape(config: Config, target: str) -> Shape:
    """Sizes of the networks and of the batch."""
    return numbers(config, target).shape(2 if target in POINTS else PICTURES)


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.known("methods", config.methods, (*METHODS, DIFFUSION))
    ranges.known("targets", config.targets, TARGETS)
    if absent := [name for name in POINTS if name not in config.targets]:
        raise ConfigError(
            f"--targets {ranges.as_typed(config.targets)}: {absent[0]} must be among them, since claims are about it"
        )
    if missing := [name for name in NEEDED if name not in config.methods]:
        raise ConfigError(
            f"--methods {ranges.as_typed(config.methods)}: {missing[0]} must be among them, since claims are about it"
        )
    ranges.rising("shares", config.shares)
    if config.shares[-1] != 1:
        raise ConfigError(f"--shares {ranges.as_typed(config.shares)}: the last must be 1, the end of a training")
    for name in ("points", "pictures"):
        values: Numbers = getattr(config, name)
        ranges.at_most(f"{name}.samples", values.samples, f"{name}.last-samples", values.last_samples)
    ranges.at_most("transported", config.transported, "points.last-samples", config.points.last_samples)
