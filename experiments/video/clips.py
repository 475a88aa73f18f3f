"""The clips that are learned and judged: digits that move over a torus by whole pixels, in a straight line."""

import functools
from typing import Any

import numpy as np

from experiments.tasks import bouncing_digits
from experiments.tasks.bouncing_digits import Clips
from gendiff.commands.video.config import CAUSAL, DIGIT, Config
from gendiff.data import digits
from gendiff.diffusion.types import Batch

HELD_OUT, KNOWN = 2**32 - 1, 2**32 - 2
"""The streams of held-out clips, and of clips of training digits that no training sees unless it has this seed."""


def batch(config: Config, attention: str, seed: int, step: int) -> Batch:
    """Clips of training digits with their labels, none of which another step sees: a function of (seed, step). For the
    causal network those of which it sees one frame come last.
    """
    size = config.batch + (config.pictures if attention == CAUSAL else 0)
    clips = _of_training(config, seed, np.arange(step * size, (step + 1) * size))
    return Batch(clean=clips.clips, condition=(clips.labels,))


@functools.lru_cache(maxsize=2)
def held_out(config: Config) -> Clips:
    """Clips of held-out digits, which samples are compared to."""
    split = _split()
    return bouncing_digits.moving_clips(
        split.held_out_images, split.held_out_labels, HELD_OUT, np.arange(config.real), **_shape(config)
    )


@functools.lru_cache(maxsize=2)
def known(config: Config) -> Clips:
    """Clips of training digits, as many: the floor of distances."""
    return _of_training(config, KNOWN, np.arange(config.real))


def still(side: int) -> tuple[np.ndarray, np.ndarray]:
    """(1347, side, side, 1) training digits in a corner of a frame, with their labels (1347,): what the classifier
    learns from.
    """
    split, room = _split(), side - DIGIT
    return np.pad(split.train_images, ((0, 0), (0, room), (0, room), (0, 0)), constant_values=-1.0), split.train_labels


def shuffled(clips: np.ndarray) -> np.ndarray:
    """Clips (n, f, h, w, c) with their frames in another order, which is drawn for each."""
    rng = np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(clips.shape[1]), (len(clips), 1)), axis=1)
    return np.take_along_axis(clips, order[:, :, None, None, None], 1)


def _of_training(config: Config, seed: int, index: np.ndarray) -> Clips:
    split = _split()
    return bouncing_digits.moving_clips(split.train_images, split.train_labels, seed, index, **_shape(config))


@functools.cache
def _split() -> digits.Split:
    return digits.load()


def _shape(config: Config) -> dict[str, Any]:
    return {"frames": config.frames, "size": config.side, "fastest": config.fastest}
