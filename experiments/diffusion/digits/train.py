"""The network of the digits experiment, and its trainings."""

from experiments.diffusion import image_training
from experiments.diffusion.digits.config import Config
from experiments.diffusion.image_model import Model
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.data import digits
from gendiff.diffusion import parameterization, schedules

SHUFFLED = "shuffled_labels"
"""Folder of the control that learns from shuffled labels."""


def model(config: Config) -> Model:
    """The network and what its output means, from the configuration alone."""
    return image_training.digits_model(config, schedules.flow(), parameterization.flow(), config.temperature)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed and, where it is wanted, the control that learns from shuffled labels."""
    split, network, first = digits.load(), model(config), config.seeds[0]
    image_training.train(config, network, image_training.digits_batch(split), folder, progress, seeds=config.seeds)
    if config.shuffled_steps:
        data = image_training.digits_batch(split, image_training.shuffled_labels(split, first))
        place = image_training.inside(folder, SHUFFLED)
        image_training.train(config, network, data, place, progress, seeds=[first], steps=config.shuffled_steps)
