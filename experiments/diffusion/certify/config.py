"""The numbers of the certify experiment."""

import dataclasses
from typing import Annotated, TypeAlias

import msgspec

from gendiff.diffusion.certify import Method
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Positive, Seed, Several, Some

Steps: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1000)]
"""Of a table of 1000 levels."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    order: float = 0.15
    """Largest distance of a fitted order from that of the method's theory."""
    exact: float = 1e-9
    """Largest error in a case that theory says is exact."""
    previous_ratio: float = 2.0
    """Least error of t - T//n in multiples of the grid's, with linspace spacing and the most steps of control_counts."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of start points and noise; weak errors need none."""
    samplers: Annotated[tuple[str, ...], ranges.DISTINCT] = ()
    """Ids of the samplers to measure, such as ddim or rk4-schedule; none for all."""
    steps: Some[Count] = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
    """Numbers of steps, each twice the one before."""
    starts: Several = 64
    """Start points of an error, over which its interval is taken."""
    sigma_max: Positive = 2.0
    """Where samplers start, as sigma / alpha."""
    sigma_min: Positive = 0.1
    """Where they end, as sigma / alpha."""
    path_starts: Several = 1024
    """Start points of an error along Brownian paths."""
    path_sigma_max: Positive = 1.0
    """Where samplers along Brownian paths start, as sigma / alpha."""
    wide_sigma_max: Positive = 80.0
    """Where the third-order methods start on the whole range of levels, as sigma / alpha."""
    wide_sigma_min: Positive = 0.002
    """Where they end there, as sigma / alpha."""
    evaluations: Distinct[Count] = (32, 128)
    """Numbers of evaluations at which the table of samplers gives errors."""
    counts: Distinct[Steps] = (5, 10, 15, 20, 25, 30, 40, 50, 64, 75, 100, 128, 150, 200, 256, 300, 400, 512, 600, 800, 999, 1000)
    """Numbers of steps at which t - T//n is measured, with T = 1000."""
    control_counts: Annotated[tuple[Steps, ...], msgspec.Meta(min_length=2), ranges.DISTINCT] = (64, 128, 256, 512)
    """Those of them to which the order of DDIM on a table is fitted."""
    checked: Steps = 1000
    """Largest number of steps whose targets are compared with t - T//n."""
    thresholds: Thresholds = Thresholds()

    def starts_of(self, method: Method) -> int:
        return self.path_starts if method.along_path else self.starts
