"""The numbers of the schedules experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images.image_training import Balanced, JudgedLearning
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run. Fréchet distances are in floors, training digits against held-out ones; bits are per dimension."""

    cosine_frechet: float = 0.0
    """Largest difference of Fréchet distances, cosine's less linear's."""
    cosine_bits: float = 0.05
    """Largest difference of bits, cosine's less linear's."""
    variance_linear: float = 1.0
    """Largest variance of a draw of the bound on the learned schedule, in multiples of that on linear's path between the same ends."""
    variance_start: float = 0.8
    """Largest variance of a draw of the bound on the learned schedule, in multiples of that on the schedule as it was before training."""
    learned_bits: float = 0.05
    """Largest difference of bits, learned's less the least of the three fixed schedules."""
    untrained_bits: float = 1.0
    """An untrained network must need at least so many bits more than the worst trained one of its seed."""
    untrained_frechet: float = 10.0
    """An untrained network must stay above this Fréchet distance."""
    same_bits: float = 0.05
    """Largest difference of bits between linear's trainings from two seeds: the measure must resolve the margin of the claims."""
    same_frechet: float = 0.25
    """Largest difference of Fréchet distances between linear's trainings from two seeds."""
    loud_frechet: float = 1.5
    """A schedule that keeps a third of the signal's power at its end must stay above this multiple of cosine's Fréchet distance."""


@dataclasses.dataclass(frozen=True)
class Config(JudgedLearning):
    """Every number of the experiment; the difference between two seeds needs two of them."""

    names: Distinct[str] = ("linear", "cosine", "sigmoid")
    """Fixed schedules, linear and cosine among them."""
    loud_seeds: Natural = 1
    """How many of the seeds, from the first, the deliberately bad schedule is trained with."""
    levels: Annotated[int, msgspec.Meta(ge=2, le=100_000)] = 1000
    """Entries of the fixed schedules' tables."""
    schedule_rate: Positive = 3e-2
    """Peak learning rate of Adam on the learned schedule's numbers, warmed up and falling alike."""
    schedule_batch: Count = 32
    """Images of each batch that the learned schedule's own objective is drawn on."""
    hidden: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 32
    """Sigmoids of the learned schedule."""
    sampling_steps: Count = 50
    """DDIM steps, with trailing spacing on each schedule's own levels."""
    samples: Balanced = 3000
    """Samples of each network, class-balanced."""
    control_samples: Balanced = 2000
    """Samples of an untrained network, class-balanced."""
    bound_draws: Several = 32
    """Levels, one in each of so many equal parts of u, at which the bound of each held-out digit is drawn."""
    cleanest: float = 7.0
    """log-SNR at which every bound ends near the clean digits; sigma / alpha is then half of half a step between pixel values."""
    checkpoint_every: Count = 600
    """Steps between checkpoints."""
    thresholds: Thresholds = Thresholds()
