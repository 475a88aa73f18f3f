"""The numbers of the study."""

import dataclasses
from typing import Annotated, TypeAlias

import msgspec

from experiments.tasks import scene_questions
from gendiff.core.errors import ConfigError
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Seed, Several

BOTH, CAPTIONS, PICTURES, OBJECTS, PAIRS = "both", "captions", "pictures", "objects", "pairs"
SCENES = {OBJECTS: scene_questions.held_out_objects(), PAIRS: scene_questions.held_out_pairs()}
"""The networks of scenes, and what no scene and no question of their training shows: a quarter of all objects, or a
quarter of all pairs of colour and shape.
"""
NETWORKS = (BOTH, CAPTIONS, PICTURES, *SCENES)
"""On digits: both directions, and twins that say what pictures show or draw what captions say. On scenes: questions."""
DIGIT_PATCH, SCENE_PATCH = 2, 6
"""Pixels of a side of a patch."""
TOGETHER = 100
"""Pictures or documents in one call."""
_Width: TypeAlias = Annotated[int, msgspec.Meta(ge=4, le=4096, multiple_of=4)]
_Side: TypeAlias = Annotated[int, msgspec.Meta(ge=16, le=256, multiple_of=SCENE_PATCH)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

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
    scene_steps: Count = 5000
    """Optimizer steps of each network of scenes."""
    batch: Several = 64
    """Documents of each kind per step."""
    side: _Side = 24
    """Pixels of a side of a scene."""
    picture_weight: Positive = 3.0
    """Weight of the loss of digits beside that of captions."""
    learning_rate: Positive = 0.02
    """Peak learning rate of matrices, by Muon; that of all else, by AdamW, is a tenth. Both fall along a cosine."""
    scene_learning_rate: Positive = 0.005
    """The same for networks of scenes."""
    sampling_steps: Several = 25
    """DDIM steps of a picture."""
    guidance: NonNegative = 2.0
    """Scale of classifier-free guidance; 1 is none."""
    samples: Annotated[int, msgspec.Meta(ge=10, le=100_000, multiple_of=10)] = 500
    """Pictures of each seed, as many of each digit."""
    asked: Several = 500
    """Questions about what is held out."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.width % config.heads or (config.width // config.heads) % 2 or config.width // config.heads < 4:
        raise ConfigError(
            f"--heads {config.heads} must divide --width {config.width} into heads of an even number of channels, at "
            "least 4: a pair of them for each of row and column"
        )
