"""The numbers of the digits experiment, and the network that they describe."""

import dataclasses

from gendiff.commands import drawing_options
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.runs import ranges
from gendiff.runs.dtypes import WithDtype
from gendiff.runs.ranges import Count, Natural, Positive, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run; ratios of Fréchet distances are to the floor, training digits against held-out ones."""

    frechet: Positive = 1.75
    """Largest Fréchet distance at guidance 1, in floors."""
    accuracy: float = 0.95
    """Least judge accuracy at guidance 1, a share."""
    precision: float = 0.8
    """Least precision at guidance 1, a share."""
    recall: float = 0.8
    """Least recall at guidance 1, a share."""
    copies: float = 0.01
    """Largest rate of near-copies above that of held-out digits, a share."""
    guided_accuracy: float = 0.985
    """Least judge accuracy at guidance 2, a share."""
    untrained_frechet: float = 10.0
    """An untrained network must stay above this Fréchet distance, in floors."""
    untrained_accuracy: float = 0.3
    """An untrained network must stay below this judge accuracy, a share."""
    shuffled_accuracy: float = 0.2
    """A network trained on shuffled labels must stay below this judge accuracy, a share."""
    two_steps: float = 2.0
    """Two sampling steps must stay above this multiple of the Fréchet distance at the full number."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning, WithDtype):
    """Every number of the experiment; `samples` are those at guidance 1."""

    train_steps: Count = 1600
    """Optimizer steps."""
    channels: image_training.Channels = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    sampler: str = "ddim"
    """What draws: a name of the `sample` command."""
    grid: str = drawing_options.DEFAULT_GRID
    """Which levels it visits: a name of that command."""
    sampling_steps: Several = 50
    """Its steps, at least the 2 of a control."""
    temperature: Positive = 1.05
    """Factor on the noise that samples start from: it undoes most of the contraction of DDIM in 50 steps and of the network."""
    guided_samples: image_training.Balanced = 2000
    """Samples at guidance 2, class-balanced."""
    control_samples: image_training.Balanced = 2000
    """Samples of each control, class-balanced; more than draw_size, so that draws differ."""
    shuffled_steps: Natural = 1000
    """Optimizer steps of the control that learns from shuffled labels, with the first seed; 0 leaves it out."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError, before anything is trained, for what cannot be trained or drawn."""
    image_training.check(config)
    ranges.known("sampler", [config.sampler], drawing_options.SAMPLERS)
    ranges.known("grid", [config.grid], drawing_options.GRIDS)


def levels(config: Config, network: Model, schedule: Schedule, steps: int) -> Level:
    """Those that the sampler visits."""
    return drawing_options.levels(config.grid, (None, None), steps, dataclasses.replace(network, schedule=schedule))


def model(config: Config) -> Model:
    """The network and what its output means, from the configuration alone."""
    return image_training.unet(config, schedules.flow(), parameterization.flow(), temperature=config.temperature, dtype=config.dtype)
