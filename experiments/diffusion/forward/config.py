"""The numbers of the forward experiment."""

import dataclasses
from typing import Annotated, Literal

import msgspec

from gendiff.runs import ranges
from gendiff.runs.ranges import Distinct, Positive, Seed, Several, Some


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    exact: float = 1e-12
    """Largest difference of mean factor and variance, composed without sampling, from the closed form."""
    shifted_exact: float = 1e-3
    """A closed form shifted by `shift` steps must differ by at least this."""
    standard_errors: Positive = 4.0
    """Largest |z| of all levels, schedules, pixel groups and moments of drawn chains; a shifted closed form must exceed it."""
    terminal: float = 1e-12
    """Largest divergence of x_T from N(0, I) at zero terminal SNR, in nats per image."""
    leaked: float = 0.01
    """Stable Diffusion's schedule must leave x_T at least so far from N(0, I), in nats per image."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the noise; the digits are the same."""
    chains: Several = 4000
    """Chains per seed, from the digits in turn; the schedules share their noise."""
    levels: Some[Annotated[int, msgspec.Meta(ge=1, le=1000)]] = (1, 50, 250, 500, 750, 1000)
    """Numbers of steps, 1 … 1000, after which moments are compared."""
    groups: Literal[1, 2, 4, 8, 16, 32, 64] = 2
    """Bands of pixels that are tested each by itself; a divisor of 64."""
    shift: Annotated[int, msgspec.Meta(ge=1, le=999)] = 10
    """Steps by which the closed form of the control is ahead."""
    resamples: Several = 200
    """Bootstrap draws of the digits behind the intervals of the lower bounds."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.rising("levels", config.levels)
