"""From any Loss to parameters. `gendiff.training.checkpoints` is imported by name, because it loads Orbax."""

from gendiff.training import ema, optimizers, precision, sharding
from gendiff.training.state import TrainState, start
from gendiff.training.step import make_step

__all__ = ["TrainState", "ema", "make_step", "optimizers", "precision", "sharding", "start"]
