"""The pictures of the autoencoder experiment: drawings and patches of photographs, as many of each, held out by concept and by region."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.autoencoder.config import Config
from gendiff.commands.images import emoji_pictures
from gendiff.data import textures

SUBJECTS = ("emoji", "textures")
"""The subject's number is the condition of the diffusion models."""
SIDE = 32
"""Pixels of a side."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Of each subject (n, SIDE, SIDE, 3) float32 in [-1, 1]. Held-out patches of photographs do not overlap."""

    train: Mapping[str, np.ndarray]
    held_out: Mapping[str, np.ndarray]

    @property
    def training(self) -> np.ndarray:
        """All training pictures, subject after subject."""
        return np.concatenate([self.train[subject] for subject in SUBJECTS])

    @property
    def subjects(self) -> np.ndarray:
        """The number of the subject of each of `training`."""
        return np.concatenate([np.full(len(self.train[subject]), number, np.int32) for number, subject in enumerate(SUBJECTS)])


def load(config: Config) -> Pictures:
    """Those of the configuration. ConfigError where there are fewer than it wants."""
    return _load(config.pictures, config.held_out)


@functools.lru_cache(maxsize=1)
def _load(count: int, held_out: int) -> Pictures:
    drawings, drawings_held_out = emoji_pictures.load(SIDE, count, held_out)
    patches, _ = textures.split(SIDE, stride=SIDE // 2)
    _, patches_held_out = textures.split(SIDE, stride=SIDE)
    return Pictures(
        train={"emoji": drawings, "textures": emoji_pictures.images("pictures", patches, count)},
        held_out={"emoji": drawings_held_out, "textures": emoji_pictures.images("held-out", patches_held_out, held_out)},
    )
