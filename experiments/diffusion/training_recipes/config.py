"""The numbers of the experiment on recipes of training."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.diffusion.training_recipes.recipes import BASES, RECIPES
from gendiff.commands.images import image_training
from gendiff.core.errors import ConfigError
from gendiff.data import digits
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Seed


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run. Fréchet distances in multiples of those of plain training with the same seeds and as many steps."""

    sooner: Positive = 0.95
    """Largest one at `early` steps of a recipe that learns sooner."""
    no_worse: Positive = 1.05
    """Largest one at the end."""
    untrained_frechet: Positive = 10.0
    """An untrained network must stay above this Fréchet distance, in floors."""


@dataclasses.dataclass(frozen=True)
class Transformer:
    """The DiT, of digits and of the classifier whose features others are aligned with."""

    width: Annotated[int, msgspec.Meta(ge=16, le=4096, multiple_of=16)] = 64
    """Channels of a token; a head has 16."""
    depth: Annotated[int, msgspec.Meta(ge=2, le=64)] = 4
    """Blocks. The tokens in the middle are aligned."""
    learning_rate: Positive = 1e-3
    """Peak learning rate."""
    alignment: NonNegative = 0.5
    """Weight of the alignment."""
    projector: Count = 128
    """Channels inside of the projector."""
    classifier_steps: Count = 400
    """Optimizer steps of the classifier."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning):
    """Every number of the experiment. `channels` and `learning_rate` are of the U-Net; after its warmup the rate stays at its peak."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds that every recipe trains with."""
    control_seeds: Distinct[Seed] = (100, 101, 102, 103, 104)
    """Others, with which plain training is repeated: what no recipe made."""
    names: Distinct[str] = tuple(RECIPES)
    """Recipes; the plain ones of what they change are among them."""
    train_steps: Count = 1000
    """Optimizer steps at the end, the last of `parts`."""
    parts: Distinct[Count] = (125, 250, 500, 1000)
    """Numbers of steps, ascending, after which the average draws."""
    early: Count = 250
    """Steps at which recipes are claimed to have learned more, one of `parts`."""
    transformer: Transformer = Transformer()
    """Of the recipes that train a DiT."""
    candidates: Count = 4
    """Of immiscible noise: draws for each digit, the nearest of which is taken."""
    gamma: Positive = 5.0
    """The largest weight of min-SNR."""
    samples: image_training.Balanced = 2000
    """Samples of each set, class-balanced."""
    sampling_steps: Count = 8
    """Steps of UniPC of order 2 on resolved levels."""
    shown: Annotated[int, msgspec.Meta(ge=1, le=20)] = digits.CLASSES
    """Samples of each recipe in the picture."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    ranges.known("names", config.names, RECIPES)
    for base in (base for base in BASES if any(RECIPES[name].base == base for name in config.names)):
        ranges.among("names", base, "names", config.names)
    ranges.among("early", config.early, "parts", config.parts)
    if list(config.parts) != sorted(config.parts) or config.parts[-1] != config.train_steps:
        raise ConfigError(f"--parts {ranges.shown(config.parts)} must ascend to --train-steps {config.train_steps}")
    if both := set(config.seeds) & set(config.control_seeds):
        raise ConfigError(f"--control-seeds {min(both)} is one of --seeds: a control needs others")
    if config.warmup >= config.parts[0]:
        raise ConfigError(f"--warmup {config.warmup} must be below the first of --parts, {config.parts[0]}")
    ranges.at_most("shown", config.shown, "samples", config.samples)
