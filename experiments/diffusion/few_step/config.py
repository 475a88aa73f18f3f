"""The numbers of the few-step experiment, and the networks that they describe."""

import dataclasses

from experiments.diffusion.students import METHODS, Power, check_powers
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.errors import ConfigError
from gendiff.data import digits
from gendiff.diffusion import parameterization, schedules
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Several

RESOLUTION = 2 / (digits.LEVELS - 1)
"""Between two values of a pixel: where the cut grid ends."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    equivalence: Positive = 0.1
    """Largest relative difference of two Fréchet distances that still counts as none."""
    student: NonNegative = 0.1
    """Largest share by which a student's Fréchet distance may exceed its teacher's in `reference` steps."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning):
    """Every number of the experiment. `train_steps` and what stands beside it are of the teacher."""

    train_steps: Count = 1600
    """Optimizer steps of the teacher. Each student has as many operations as these, so fewer steps where a step costs more."""
    channels: image_training.Channels = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    reference: Several = 50
    """DDIM steps of the teacher that all else is held against."""
    students: Distinct[str] = METHODS
    """Which ways to train a student."""
    student_rate: Positive = 1e-3
    """Peak learning rate of the students."""
    evaluations: Distinct[Count] = (1, 2, 4, 8, 16)
    """Evaluations of the network per sample that are drawn; of students, those up to 8."""
    judged: Count = 4
    """Evaluations at which students are judged, one of `evaluations`; distribution matching is judged at 1."""
    equal: Count = 8
    """Evaluations at which learned levels are claimed to lose nothing, one of `evaluations`."""
    certified: Count = 6
    """Evaluations in which UniPC of order 2 on cut levels is claimed to lose nothing."""
    pairs: Count = 10_000
    """Pairs of noise and digit that reflow learns from."""
    pair_steps: Count = 16
    """Evaluations in which the teacher draws each pair."""
    intervals: Power = 64
    """Intervals of the path at the end of consistency training and distillation; they double from 4 on."""
    shortest: Power = 32
    """How many of the shortest steps of a shortcut model the path has, a power of 2."""
    fake_steps: Count = 2
    """Steps of the denoiser of generated digits for each step of the generator of distribution matching."""
    fine: Count = 64
    """Evaluations of the solution that levels are learned from."""
    learn_pairs: Count = 256
    """Noises that levels are learned from, and as many that judge them."""
    learn_batch: Count = 32
    """Noises in one gradient; divides `learn_pairs`."""
    learn_iterations: Count = 200
    """Gradient steps of the levels."""
    resamples: Several = 400
    """Bootstrap resamples of each comparison."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    ranges.known("students", config.students, METHODS)
    ranges.among("judged", config.judged, "evaluations", config.evaluations)
    ranges.among("equal", config.equal, "evaluations", config.evaluations)
    if config.learn_pairs % config.learn_batch:
        raise ConfigError(f"--learn-batch {config.learn_batch} must divide --learn-pairs {config.learn_pairs}")
    ranges.at_most("batch", config.batch, "pairs", config.pairs)
    check_powers(config.shortest, config.intervals)


def model(config: Config, convolution: str = "direct") -> Model:
    """The teacher, and of all students that are told one time. convolution: as for `image_training.unet`."""
    return image_training.unet(config, schedules.flow(), parameterization.flow(), convolution=convolution)


def two_time_model(config: Config) -> Model:
    """The student that is told a second time: the teacher's network with its layers."""
    return image_training.unet(config, schedules.flow(), parameterization.flow(), second_time=True)
