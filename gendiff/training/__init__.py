"""From any Loss to parameters. `gendiff.training.checkpoints` is imported by name, because it loads Orbax."""

from gendiff.training import ema, optimizers, post_hoc_ema, precision, sharding, snapshots, timing
from gendiff.training.fit import Programs, fit, own_programs, programs
from gendiff.training.loop import Fitted, loop
from gendiff.training.state import TrainState, start
from gendiff.training.step import make_step
from gendiff.training.timing import Timing

__all__ = [
    "Fitted",
    "Programs",
    "Timing",
    "TrainState",
    "ema",
    "fit",
    "loop",
    "make_step",
    "optimizers",
    "own_programs",
    "post_hoc_ema",
    "precision",
    "programs",
    "sharding",
    "snapshots",
    "start",
    "timing",
]
