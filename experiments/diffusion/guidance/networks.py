"""The networks of the guidance experiment: what each learns from, where it is kept, and how it is read back."""

import dataclasses
import functools
from typing import Any

import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.image_model import Model
from experiments.diffusion.image_training import Learning
from experiments.framework import training_loop
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
TRAINING, HELD_OUT = 0, 1
"""Streams of scenes: no scene of one is in the other."""


def model(learning: Learning, data: str) -> Model:
    """A class-conditional U-Net that learns the flow. data: "digits" or "shapes".

    Samples start at temperature 1, unlike those of `digits`, whose temperature was chosen for guidance 1.
    """
    flow = schedules.flow(), parameterization.flow()
    if data == "digits":
        return image_training.model(learning, *flow)
    return image_training.unet(learning, *flow, shape=(SIDE, SIDE, 3), num_classes=RECIPE.num_classes)


def rendered(stream: int, count: int) -> Images:
    """Scenes 0, 1, … of a stream and their classes."""
    return rendering.images(RECIPE, SIDE, stream, np.arange(count))


def train(config: Any, folder: RunFolder, progress: Progress) -> None:
    """Digits and shapes with every seed; with the first, digits at each other dropout and the one that learns from shuffled labels."""
    split, first = digits.load(), config.seeds[0]
    real = Batch(clean=split.train_images, condition=(split.train_labels,))
    scenes = rendered(TRAINING, config.scenes)
    learn = functools.partial(_learn, folder, progress)
    learn("", config.digits, "digits", config.seeds, real)
    shuffled = np.random.default_rng(first).permutation(split.train_labels)
    learn("shuffled_labels", config.digits, "digits", [first], Batch(clean=split.train_images, condition=(shuffled,)))
    learn("weaker", config.weaker, "digits", config.seeds, real)
    for share in dropouts(config):
        learn(dropout_name(share), dataclasses.replace(config.digits, drop_condition=share), "digits", [first], real)
    learn("shapes", config.shapes, "shapes", config.seeds, Batch(clean=scenes.clean, condition=(scenes.labels,)))


def restore(learning: Learning, data: str, folder: RunFolder, name: str, seed: int) -> Params:
    """The averaged parameters of one network. name: of its folder within the run's, "" for the run's own."""
    made = model(learning, data)
    return training_loop.restore_ema(made.init, _place(folder, name), seed=seed, decay=made.ema)


def dropouts(config: Any) -> list[float]:
    """Those that need a network of their own."""
    return [share for share in config.dropouts if share != config.digits.drop_condition]


def dropout_name(share: float) -> str:
    """Of the folder that keeps a network of this dropout."""
    return f"dropout_{share:g}"


def _learn(folder: RunFolder, progress: Progress, name: str, learning: Learning, data: str, seeds: Any, batch: Batch) -> None:
    made, optimizer, place = model(learning, data), _optimizer(learning), _place(folder, name)
    loss = image_training.loss(learning, made)
    for seed in seeds:
        progress.line(f"train on {data}" + (f" ({name})" if name else ""))
        image_training.learn(learning, loss, optimizer, made.init, batch, place, progress, seed=seed, steps=learning.train_steps)


@functools.lru_cache  # one object, so that trainings share a compiled step
def _optimizer(learning: Learning) -> Any:
    return image_training.optimizer(learning)


def _place(folder: RunFolder, name: str) -> RunFolder:
    return image_training.inside(folder, name) if name else folder
