"""From any Loss to parameters. `gendiff.training.checkpoints` is imported by name, because it loads Orbax."""

from gendiff.training import ema, optimizers, post_hoc_ema, precision, sharding, snapshots, timing
from gendiff.training.compile_step import CompiledStep, compile_loss, compile_step
from gendiff.training.fit import FitResult
from gendiff.training.old_names import __getattr__ as __getattr__
from gendiff.training.old_names import fit
from gendiff.training.state import TrainState, start
from gendiff.training.step import make_step
from gendiff.training.timing import Timing

__all__ = [
    "CompiledStep",
    "FitResult",
    "Timing",
    "TrainState",
    "compile_loss",
    "compile_step",
    "ema",
    "fit",
    "make_step",
    "optimizers",
    "post_hoc_ema",
    "precision",
    "sharding",
    "snapshots",
    "start",
    "timing",
]
