"""Does a small diffusion model learn real handwritten digits?

    python -m experiments run digits --preset demo    one seed; 4 minutes; the figures to expect are in README.md
    python -m experiments run digits                  three seeds and every control; 14 minutes; experiments/results/digits

A class-conditional U-Net learns the flow from 1,347 digits of 8×8 pixels to noise; DDIM in 50 steps draws from its average. Each of the two
contracts the samples towards the mean of their class by about 3 %, so they start from noise of a temperature above 1. What a temperature
of 1 gives is in the table beside.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import optax

from experiments.diffusion import image_judge, image_sampling, image_training
from experiments.diffusion.image_model import Model
from experiments.framework.progress import Progress
from experiments.framework.registry import Experiment, Outcome
from experiments.framework.run_folder import RunFolder
from gendiff.data import digits
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run; ratios of Fréchet distances are to the floor, training digits against held-out ones."""

    frechet: float = 1.75
    """Largest Fréchet distance at guidance 1, in floors."""
    accuracy: float = 0.95
    """Least judge accuracy at guidance 1, a share."""
    precision: float = 0.8
    """Least precision at guidance 1, a share."""
    recall: float = 0.8
    """Least recall at guidance 1, a share."""
    copies: float = 0.01
    """Largest rate of near-copies above that of held-out digits, a share."""
    guided_accuracy: float = 0.985
    """Least judge accuracy at guidance 2, a share."""
    untrained_frechet: float = 10.0
    """An untrained network must stay above this Fréchet distance, in floors."""
    untrained_accuracy: float = 0.3
    """An untrained network must stay below this judge accuracy, a share."""
    shuffled_accuracy: float = 0.2
    """A network trained on shuffled labels must stay below this judge accuracy, a share."""
    two_steps: float = 2.0
    """Two sampling steps must stay above this multiple of the Fréchet distance at the full number."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.Learning):
    """Every number of the experiment, those of `Learning` among them."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of training; each trains a network of its own."""
    train_steps: int = 1600
    """Optimizer steps."""
    channels: tuple[int, ...] = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    sampling_steps: int = 50
    """DDIM steps."""
    temperature: float = 1.05
    """Factor on the noise that samples start from: it undoes most of the contraction of DDIM in 50 steps and of the network."""
    samples: int = 5000
    """Samples at guidance 1, class-balanced."""
    guided_samples: int = 2000
    """Samples at guidance 2, class-balanced."""
    control_samples: int = 2000
    """Samples of each control, class-balanced; more than draw_size, so that draws differ."""
    together: int = 500
    """Samples drawn in one call."""
    draws: int = 20
    """Draws behind each Fréchet distance, precision and recall."""
    draw_size: int = 1000
    """Samples in a draw."""
    shuffled_steps: int = 1000
    """Optimizer steps of the control that learns from shuffled labels, with the first seed; 0 leaves it out."""
    thresholds: Thresholds = Thresholds()


def model(config: Config) -> Model:
    """The network and what its output means, from the configuration alone."""
    return image_training.model(config, schedules.flow(), parameterization.flow(), config.temperature)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network a seed and, where asked for, the control that learns from shuffled labels."""
    split = digits.load()
    # one optimizer object, so that all trainings share a compiled step
    optimizer = image_training.optimizer(config)
    learn = functools.partial(_train, config, optimizer, progress)
    for seed in config.seeds:
        learn(folder, seed, config.train_steps, Batch(clean=split.train_images, condition=(split.train_labels,)))
    if config.shuffled_steps:
        shuffled = np.random.default_rng(config.seeds[0]).permutation(split.train_labels)
        batch = Batch(clean=split.train_images, condition=(shuffled,))
        learn(image_judge.shuffled_folder(folder), config.seeds[0], config.shuffled_steps, batch)


def _train(
    config: Config, optimizer: optax.GradientTransformation, progress: Progress, folder: RunFolder, seed: int, steps: int, data: Batch
) -> None:
    made = model(config)
    loss = image_training.loss(config, made)
    image_training.learn(config, loss, optimizer, made.init, data, folder, progress, seed=seed, steps=steps)


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Draws from every network and judges what they drew."""
    return image_judge.evaluate(config, model(config), folder, progress)


_DEMO: dict[str, Any] = {"seeds": (0,), "shuffled_steps": 0}

EXPERIMENT = Experiment(
    name="digits",
    question="Does a small diffusion model learn real handwritten digits, judged without trusting the model?",
    config=Config,
    presets={
        "full": Config(),
        "demo": Config(**_DEMO, train_steps=1400, samples=2000, guided_samples=2000),
    },
    smoke=Config(
        **_DEMO,
        train_steps=4,
        warmup=1,
        batch=16,
        channels=(8,),
        sampling_steps=4,
        samples=40,
        guided_samples=40,
        control_samples=40,
        together=40,
        draws=3,
        draw_size=30,
    ),
    train=train,
    evaluate=evaluate,
    sample=image_sampling.command(model),
)
