"""The networks of the invariance experiment: that of the digits experiment, trained for a minute."""

from experiments.diffusion import digits, image_training
from experiments.diffusion.image_model import Model
from experiments.diffusion.invariance.config import Config
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.data.digits import load
from gendiff.diffusion.types import Batch


def model(config: Config) -> Model:
    """The network of the digits experiment, in this size."""
    return digits.model(digits.Config(channels=config.channels, blocks=config.blocks, ema=config.ema))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed."""
    network, split = model(config), load()
    loss, optimizer = image_training.loss(config, network), image_training.optimizer(config)
    data = Batch(clean=split.train_images, condition=(split.train_labels,))
    for seed in config.seeds:
        image_training.learn(config, loss, optimizer, network.init, data, folder, progress, seed=seed, steps=config.train_steps)
