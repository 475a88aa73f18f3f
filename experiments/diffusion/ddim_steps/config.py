"""The numbers of the ddim-steps experiment, and the network that they describe."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.diffusion import parameterization, schedules
from gendiff.runs.dtypes import WithDtype
from gendiff.runs.ranges import Count, Distinct, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    equivalence: float = 0.1
    """Largest relative difference of two Fréchet distances that still counts as none."""
    speedup: float = 15.0
    """Least ratio of the times of DDPM in all steps and DDIM in `fast` of them; counting evaluations it is 20."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning, WithDtype):
    """Every number of the experiment."""

    train_steps: Count = 1600
    """Optimizer steps."""
    levels: Annotated[int, msgspec.Meta(ge=2, le=100_000)] = 1000
    """Levels of the process, with DDPM's linear variances."""
    steps: Distinct[Count] = (1000, 250, 100, 50, 20, 10, 5)
    """Steps of DDPM and DDIM; the first is what all others are held against."""
    few: Distinct[str] = ("DDIM", "DPM-Solver++ 2M", "DPM-Solver++ 3M", "UniPC 2", "DEIS 3", "Heun")
    """Samplers of few steps."""
    budgets: Distinct[Count] = (5, 10, 20)
    """Most evaluations of the samplers of few steps."""
    equivalent: Distinct[Count] = (20, 50)
    """Steps of DDIM that are claimed to lose nothing, each one of `steps`."""
    same: Count = 250
    """Steps of DDIM that must be found equivalent: the positive control, one of `steps`."""
    coarse: Count = 5
    """Steps of DDIM that must be found different, one of `steps`."""
    coarse_chain: Count = 20
    """Steps of DDPM that must be found different, one of `steps`."""
    fast: Count = 50
    """Steps of DDIM whose time is held against that of DDPM in all steps, one of `steps`."""
    resamples: Several = 400
    """Bootstrap resamples of each equivalence test."""
    pairs: Several = 7
    """Interleaved timings of `together` samples by each of the methods that are timed."""
    thresholds: Thresholds = Thresholds()


def model(config: Config) -> Model:
    """The network of the digits experiment in this size, on DDPM's process."""
    return image_training.unet(config, schedules.linear(config.levels), parameterization.noise(), dtype=config.dtype)
