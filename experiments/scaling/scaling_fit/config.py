"""The numbers of the scaling-fit experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Distinct, Positive, Seed, Several

OrdersOfMagnitude = Annotated[float, msgspec.Meta(ge=1e3, le=1e30)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    recovered: Positive = 1e-4
    """Largest relative error of the five constants that approach 3 finds in points without noise."""
    coverage: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.8
    """Share of the nominal 95 % intervals of the exponent that hold the truth, at least; intervals of 50 % must miss it."""
    slope: Positive = 1e-6
    """Largest error of the exponent of approach 2 in points without noise."""
    offset: Positive = 1e-6
    """Largest relative difference of the bias of approach 2 from what a parabola through the exact curve has."""
    biased: Positive = 0.2
    """Approach 2 misses the best size of an uneven surface by at least this share; on an even one it must not."""
    told: Positive = 1e-3
    """p of a likelihood-ratio test that rejects constants of another surface, at most; the right constants must miss it."""
    better: float = 0.02
    """Predicted loss of GPT-3 less that of Chinchilla, at least; Kaplan's law must miss it."""
    near: Positive = 1.5
    """Largest factor between the best size at Chinchilla's budget and its 70 billion; approach 3 as published and Kaplan's must miss it."""
    cheaper: Positive = 2.5
    """Operations per token of GPT-3 over those of Chinchilla, at least."""
    shrunk: Positive = 0.5
    """The size with least cost for Chinchilla's loss, with ten times its training tokens served over none served, at most."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the noise and of the resamples."""
    budgets: Distinct[OrdersOfMagnitude] = (1e18, 1e19, 1e20, 1e21, 1e22)
    """Operations of the made trainings, rising."""
    sizes: Annotated[int, msgspec.Meta(ge=5, le=1000)] = 20
    """Numbers of parameters per budget."""
    spread: Annotated[float, msgspec.Meta(gt=1, le=1e6)] = 16.0
    """They lie between the best one over this and the best one times this."""
    noise: Positive = 0.01
    """Standard deviation of the log of a loss."""
    replicates: Several = 100
    """Sweeps per seed whose intervals are counted."""
    resamples: Several = 50
    """Bootstrap draws behind each of these intervals."""
    shown_resamples: Several = 200
    """Bootstrap draws behind the intervals of the table."""
    target: OrdersOfMagnitude = 1e24
    """Operations to which approach 2 is extended."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.rising("budgets", config.budgets)
    if len(config.budgets) < 3:
        raise ConfigError(f"--budgets {ranges.shown(config.budgets)} must be three or more, rising")
    if config.target <= config.budgets[-1]:
        raise ConfigError(f"--target {config.target:g} must be above the last of --budgets, {config.budgets[-1]:g}")
