"""The network of the ddim-steps experiment, and its trainings."""

from experiments.diffusion import image_training
from experiments.diffusion.ddim_steps.config import Config
from experiments.diffusion.image_model import Model
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.data import digits
from gendiff.diffusion import parameterization, schedules


def model(config: Config) -> Model:
    """The network of the digits experiment in this size, on DDPM's process."""
    return image_training.digits_model(config, schedules.linear(config.levels), parameterization.noise())


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed."""
    image_training.train(config, model(config), image_training.digits_batch(digits.load()), folder, progress, seeds=config.seeds)
