"""The networks of the guidance experiment: what each learns from, where it is kept, and how it is read back."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.guidance.config import Config
from experiments.diffusion.image_model import Model
from experiments.diffusion.image_training import Learning
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.core.types import Params
from gendiff.data import digits, rendering, shapes
from gendiff.data.images import Images
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch

RECIPE = shapes.Recipe(objects=(1, 1), colours=("red", "green", "blue", "yellow"), classes_by=("colour", "shape", "size"))
"""One object in four colours, four shapes and two sizes, 32 classes; its place is what a class leaves open."""
SIDE = 16
"""Pixels of a side of the shapes."""
Data: TypeAlias = Literal["digits", "shapes"]
SHUFFLED = "shuffled_labels"
"""Folder of the network that learns from shuffled labels."""
TRAINING, HELD_OUT = 0, 1
"""Streams of scenes: no scene of one is in the other."""


def model(learning: Learning, data: Data) -> Model:
    """A class-conditional U-Net that learns the flow.

    Samples start at temperature 1, unlike those of `digits`, whose temperature was chosen for guidance 1.
    """
    of_shapes: dict[str, Any] = {"shape": (SIDE, SIDE, 3), "num_classes": RECIPE.num_classes, "levels": None}
    return image_training.unet(learning, schedules.flow(), parameterization.flow(), **(of_shapes if data == "shapes" else {}))


def rendered(stream: int, count: int) -> Images:
    """Scenes 0, 1, … of a stream and their classes."""
    return rendering.labelled_images(RECIPE, SIDE, stream, np.arange(count))


def digits_model(config: Config) -> Model:
    """The network on digits."""
    return model(config.digits, "digits")


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Digits and shapes with every seed; with the first, digits at each other dropout and the one that learns from shuffled labels."""

    def learn(name: str, learning: Learning, data: Data, seeds: Iterable[int], batch: Batch) -> None:
        progress.line(f"train on {data}" + (f" ({name})" if name else ""))
        place = image_training.inside(folder, name)
        image_training.train(learning, model(learning, data), batch, place, progress, seeds=seeds)

    split, scenes, first = digits.load(), rendered(TRAINING, config.scenes), config.seeds[:1]
    real, shuffled = (image_training.digits_batch(split, order) for order in (None, first[0]))
    learn("", config.digits, "digits", config.seeds, real)
    learn(SHUFFLED, config.digits, "digits", first, shuffled)
    learn("weaker", config.weaker, "digits", config.seeds, real)
    for share, name in dropouts(config).items():
        learn(name, dataclasses.replace(config.digits, drop_condition=share), "digits", first, real)
    learn("shapes", config.shapes, "shapes", config.seeds, Batch(clean=scenes.clean, condition=(scenes.labels,)))


def restore(learning: Learning, data: Data, folder: RunFolder, name: str, seed: int) -> Params:
    """The averaged parameters of one network. name: of its folder within the run's, "" for the run's own."""
    return image_training.averaged(model(learning, data), image_training.inside(folder, name), seed)


def dropouts(config: Config) -> dict[float, str]:
    """Those that need a network of their own, and the folder that keeps it."""
    return {share: f"dropout_{share:g}" for share in config.dropouts if share != config.digits.drop_condition}
