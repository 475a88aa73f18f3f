"""The numbers of the multimodal experiment."""

import dataclasses
from typing import Annotated, TypeAlias

import msgspec

from experiments.tasks import scene_questions
from gendiff.core.errors import ConfigError
from gendiff.runs.ranges import Count, Decay, Distinct, NonNegative, Positive, Seed, Several, Share

BOTH, CAPTIONS, PICTURES, SCENES = "both", "captions", "pictures", "scenes"
NETWORKS = (BOTH, CAPTIONS, PICTURES, SCENES)
"""On digits: both directions, and twins that say what pictures show or draw what captions say. On scenes: questions."""
DIGIT_PATCH, SCENE_PATCH = 2, 4
"""Pixels of a side of a patch."""
PAIRS = scene_questions.held_out_pairs()
"""Pairs of colour and shape in the order in which they are held out. No two have a colour in common."""
_Part: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Width: TypeAlias = Annotated[int, msgspec.Meta(ge=4, le=4096, multiple_of=4)]
_Side: TypeAlias = Annotated[int, msgspec.Meta(ge=16, le=256, multiple_of=SCENE_PATCH)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    drawn: Share = 0.9
    """Share of pictures in which the classifier sees the digit of their caption, at least."""
    captioned: Share = 0.9
    """Share of held-out digits whose caption is written right, at least."""
    answered: Share = 0.9
    """Share of questions about held-out pairs of colour and shape whose right answer is the likeliest one, at least."""
    text_loss: float = 1.05
    """Loss of captions of held-out digits over that of the twin that only captions, at most."""
    picture_loss: float = 1.05
    """Loss of held-out pictures with their captions over that of the twin that only draws, at most."""
    language: float = 0.0
    """Largest difference between logits of texts alone and those of a language model with the same parameters."""
    mismatched: Share = 0.2
    """Share of pictures in which the classifier sees the digit of another caption, at most; chance is 0.1."""
    blind: Share = 0.6
    """Share of those questions that are answered right about pictures of other scenes, at most: some answers are likelier than others."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of training, all of them trained by one program for each network."""
    width: _Width = 96
    """Channels of a token."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Blocks."""
    heads: Count = 4
    """Heads of attention."""
    train_steps: Count = 800
    """Optimizer steps of each network of digits."""
    scene_steps: Count = 6000
    """Optimizer steps of the network of scenes."""
    batch: Several = 64
    """Documents of each kind per step."""
    held_out_pairs: Annotated[int, msgspec.Meta(ge=1, le=len(PAIRS))] = 2
    """Pairs of colour and shape that no scene and no question of training shows."""
    side: _Side = 24
    """Pixels of a side of a scene."""
    picture_weight: Positive = 5.0
    """Weight of the loss of digits beside that of tokens."""
    scene_weight: NonNegative = 1.0
    """The same of scenes, whose pictures are not judged."""
    scene_noise: _Part = 0.1
    """Most noise on a scene in training, a place u on the noise path: questions are answered about clean ones."""
    learning_rate: Positive = 0.02
    """Peak learning rate of matrices, by Muon; it falls along a cosine."""
    adam_learning_rate: Positive = 2e-3
    """Peak learning rate of all else, by AdamW."""
    warmup: _Part = 0.05
    """Share of the steps until the learning rates peak."""
    weight_decay: NonNegative = 0.01
    """Weight decay of matrices."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    ema: Decay = 0.995
    """Decay of the averages that are judged."""
    sampling_steps: Several = 25
    """DDIM steps of a picture."""
    guidance: NonNegative = 2.0
    """Scale of classifier-free guidance; 1 is none."""
    samples: Annotated[int, msgspec.Meta(ge=10, le=100_000, multiple_of=10)] = 500
    """Pictures of each seed, as many of each digit."""
    asked: Several = 500
    """Questions about held-out pairs."""
    together: Count = 100
    """Pictures or documents in one call."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.width % config.heads or (config.width // config.heads) % 2 or config.width // config.heads < 4:
        raise ConfigError(
            f"--heads {config.heads} must divide --width {config.width} into heads of an even number of channels, at least 4: "
            "a pair of them for each of row and column"
        )
