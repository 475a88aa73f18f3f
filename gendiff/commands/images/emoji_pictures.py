"""The drawings of emoji that experiments on pictures share, held out by concept."""

import functools
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec
import numpy as np

from gendiff.core.errors import ConfigError
from gendiff.data import emoji, random_access, scaling
from gendiff.data.emoji import Emoji
from gendiff.data.images.random_access import Source

SHARE, SPLIT_SEED = 0.2, 0
"""Of the drawings that are held out."""
Training: TypeAlias = Annotated[int, msgspec.Meta(ge=20, le=1534)]
"""How many drawings there are to train on."""
HeldOut: TypeAlias = Annotated[int, msgspec.Meta(ge=4, le=384)]


@functools.lru_cache(maxsize=1)
def load(size: int, count: int, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """(`count` training pictures, `held_out` held-out ones), (n, size, size, 3) float32 in [-1, 1]. ConfigError where
    there are fewer.
    """
    training, others = split(size)
    return images("pictures", training, count), images("held-out", others, held_out)


@functools.lru_cache(maxsize=2)
def split(size: int, styles: Sequence[str] = (emoji.OPENMOJI,), folder: str = ".") -> tuple[Emoji, Emoji]:
    """(training drawings, held-out ones) of pictures of one size, with their captions, one style after the other.

    styles, folder: as for `emoji.source`, which raises DataError for a style that is not installed.
    """
    drawings = (emoji.source(size, captions=True, style=style, folder=folder) for style in styles)
    return emoji.split(emoji.together(*drawings), SHARE, seed=SPLIT_SEED)


def images(option: str, source: Source, count: int) -> np.ndarray:
    """`count` pictures at equal distances in the order of the source, so that all its classes are among them."""
    if count > len(source):
        raise ConfigError(f"--{option} {count} is above {len(source)}, the pictures of a subject that there are")
    chosen = np.stack(random_access.in_threads(source.image, at_equal_distances(len(source), count).tolist()))
    return np.asarray(scaling.to_unit(chosen, 256))


def at_equal_distances(total: int, count: int) -> np.ndarray:
    """(count,) rows of `total`."""
    return np.arange(count) * total // count
