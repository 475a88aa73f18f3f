"""The networks of the invariance experiment: that of the digits experiment, trained for a minute."""

from experiments.diffusion import digits, image_training
from experiments.diffusion.image_model import Model
from experiments.diffusion.invariance.config import Config


def model(config: Config) -> Model:
    """The network of the digits experiment, in this size."""
    return digits.model(digits.Config(channels=config.channels, blocks=config.blocks, ema=config.ema))


train = image_training.per_seed(model)
