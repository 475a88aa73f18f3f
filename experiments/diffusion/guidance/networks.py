"""The networks of the guidance experiment: what each learns from, where it is kept, and how it is read back."""

import dataclasses
from typing import Any

import numpy as np

from experiments.diffusion.guidance.config import Config
from experiments.tasks import rendering, shapes
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.data.images import Images
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

RECIPE = shapes.Recipe(
    objects=(1, 1), colours=("red", "green", "blue", "yellow"), classes_by=("colour", "shape", "size")
)
"""One object in four colours, four shapes and two sizes, 32 classes; its place is what a class leaves open."""
SIDE = 16
"""Pixels of a side of the shapes."""
DIGITS, SHAPES, WEAKER, SHUFFLED = "", "shapes", "weaker", "shuffled_labels"
"""Folders of networks within the run's, the first of which is the run's own; further ones are in `dropouts`."""
TRAINING, HELD_OUT = 0, 1
"""Streams of scenes: no scene of one is in the other."""


def model(config: Config, name: str = DIGITS) -> Model:
    """The class-conditional U-Net of a folder, which learns the flow.

    Samples start at temperature 1, unlike those of `digits`, whose temperature was chosen for guidance 1.
    """
    of_shapes: dict[str, Any] = {"shape": (SIDE, SIDE, 3), "num_classes": RECIPE.num_classes, "levels": None}
    changes = of_shapes if name == SHAPES else {}
    return image_training.unet(_learning(config, name), schedules.flow(), parameterization.flow(), **changes)


def rendered(stream: int, count: int) -> Images:
    """Scenes 0, 1, … of a stream and their classes."""
    return rendering.labelled_images(RECIPE, SIDE, stream, np.arange(count))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Digits and shapes with every seed; with the first, digits at each other dropout and the one that learns from
    shuffled labels.
    """
    split, scenes, first = digits.load(), rendered(TRAINING, config.scenes), config.seeds[:1]
    real, shuffled = (image_training.digits_batch(split, order) for order in (None, first[0]))
    for name, seeds, batch in (
        (DIGITS, config.seeds, real),
        (SHUFFLED, first, shuffled),
        (WEAKER, config.seeds, real),
        *((name, first, real) for name in dropouts(config).values()),
        (SHAPES, config.seeds, Batch(clean=scenes.clean, condition=(scenes.labels,))),
    ):
        progress.line(f"train on {'shapes' if name == SHAPES else 'digits'}" + (f" ({name})" if name else ""))
        inner = folder.inside(name)
        image_training.train(_learning(config, name), model(config, name), batch, inner, progress, seeds=seeds)


def restore(config: Config, folder: RunFolder, name: str, seed: int) -> Params:
    """The averaged parameters of one network of the folder `name`."""
    return image_training.averaged(model(config, name), folder.inside(name), seed)


def dropouts(config: Config) -> dict[float, str]:
    """Those that need a network of their own, and the folder that keeps it."""
    return {share: f"dropout_{share:g}" for share in config.dropouts if share != config.digits.drop_condition}


def _learning(config: Config, name: str) -> image_training.Learning:
    dropped = {
        folder: dataclasses.replace(config.digits, drop_condition=share) for share, folder in dropouts(config).items()
    }
    return {SHAPES: config.shapes, WEAKER: config.weaker, **dropped}.get(name, config.digits)
