"""The networks of the invariance experiment: that of the digits experiment, trained for a minute."""

from experiments.diffusion import digits, image_training
from experiments.diffusion.image_model import Model
from experiments.diffusion.invariance.config import Config
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.data.digits import load


def model(config: Config) -> Model:
    """The network of the digits experiment, in this size."""
    return digits.model(digits.Config(channels=config.channels, blocks=config.blocks, ema=config.ema))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed."""
    image_training.train(config, model(config), image_training.digits_batch(load()), folder, progress, seeds=config.seeds)
