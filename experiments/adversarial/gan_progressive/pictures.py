"""The pictures that are learned, and those of a batch as each stage of a growing pair sees them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.adversarial.gan_progressive.config import DIGITS, Config
from gendiff.adversarial.growing import Growth, fade_in
from gendiff.commands.images import emoji_pictures
from gendiff.core.types import ArrayLike
from gendiff.data import batches, digits, scaling
from gendiff.networks.layers.convolution import double, halve


class Growing(NamedTuple):
    """A batch of a growing pair.

    clean: (b, h, w, c) pictures of full size. weight: (b,) of the stage's newest block. first: (b,) whether the step is
    the first of its stage. The last two are the same in every row.
    """

    clean: np.ndarray
    weight: np.ndarray
    first: np.ndarray


@functools.lru_cache(maxsize=2)
def load(config: Config, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """(training pictures, held-out ones), (n, s, s, c) float32 in [-1, 1]."""
    if subject != DIGITS:
        return emoji_pictures.load(config.size, config.pictures, config.held_out)
    split = digits.load()
    return split.train_images, split.held_out_images


def batch(images: np.ndarray, rows: int, seed: int, growth: Growth | None, step: int) -> Growing:
    """That of a step: a function of (seed, step). Without growth it has the same pictures, and the last stage counts
    whole at once.
    """
    clean = images[batches.batch_at(len(images), rows, seed, step)]
    stage, weight = (0, 1.0) if growth is None else growth.at(step)
    first = growth is not None and step > 0 and growth.at(step - 1)[0] < stage
    return Growing(clean, np.full(rows, weight, np.float32), np.full(rows, first))


def at_stage(clean: ArrayLike, side: int, weight: ArrayLike) -> jax.Array:
    """Pictures (b, side, side, c) as a stage sees them: means of squares, faded in like the stage itself.

    References:
        Karras et al., 2018, section 2 and Figure 2: real pictures are interpolated between two sizes as the networks
        are.
    """
    now = jnp.asarray(clean)
    while now.shape[1] > side:
        now = halve(now)
    return fade_in(double(halve(now)), now, jnp.asarray(weight))


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Pictures (n, s, s, c) of an early stage, each pixel repeated, at the full size."""
    factor = size // images.shape[1]
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def stored(images: np.ndarray) -> np.ndarray:
    """Pictures of any value as they are kept: 256 levels, uint8."""
    return np.asarray(scaling.from_unit(np.clip(images, -1.0, 1.0), 256))


def restored(images: np.ndarray) -> np.ndarray:
    """Those in [-1, 1] again."""
    return np.asarray(scaling.to_unit(images, 256))
