"""The network of the editing experiment, and its trainings."""

from experiments.diffusion import image_training
from experiments.diffusion.editing.config import Config
from experiments.diffusion.image_model import Model
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.data import digits
from gendiff.diffusion import parameterization, schedules


def model(config: Config) -> Model:
    """The network of the digits experiment in this size, on the flow process; PiGDM and DPS take gradients through it at every step."""
    return image_training.digits_model(config, schedules.flow(), parameterization.flow(), convolution="fast_backward")


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed."""
    image_training.train(config, model(config), image_training.digits_batch(digits.load()), folder, progress, seeds=config.seeds)
