"""What is learned: a ring and a grid of points, and pictures of three digits, with the modes of samples of each."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.tasks import mixtures, stacked_digits
from gendiff.data import digits
from gendiff.metrics import classifier_accuracy, modes
from gendiff.metrics.modes import ModeReport
from gendiff.runs import devices

RING, GRID, STACKED = "ring", "grid", "stacked digits"
POINTS = {RING: mixtures.unit_ring, GRID: mixtures.unit_grid}
"""The laws of points, of unit variance."""
TARGETS = (*POINTS, STACKED)
SIDE = 8
PICTURES = SIDE * SIDE * stacked_digits.CHANNELS
"""Numbers of a picture."""
DATA = np.uint32(2**32 - 2)
"""What the key of a seed is folded with for its data: a number that no step and no start of a training reaches."""
BLOCK = 32
"""Steps whose points are drawn in one call."""
WIDE = 5.0 / 2.828
"""Uniform noise fills the square of ± this, as wide as the grid and half of its spacing around it."""


def known(target: str) -> int:
    """How many modes there are."""
    return len(POINTS[target]().centres) if target in POINTS else stacked_digits.MODES


def batches(target: str, seeds: Sequence[int], rows: int) -> Callable[[int], Any]:
    """From a step to its batch (rows, seeds, size): that of a seed is a function of (seed, step)."""
    if target in POINTS:
        block = _points(target, tuple(seeds), rows)
        return lambda step: block(step // BLOCK)[step % BLOCK]
    return lambda step: np.stack([stacked(rows, seed, step) for seed in seeds], axis=1)


def stacked(count: int, seed: int, step: int) -> np.ndarray:
    """Pictures (count, 192) of training digits."""
    split = _split()
    return stacked_digits.batch_at(split.train_images, split.train_labels, count, seed, step).clean.reshape(
        count, PICTURES
    )


def exact(target: str, count: int, seed: int, part: int = 0) -> np.ndarray:
    """Samples (count, size) that an exact sampler draws; other parts are others, and no training sees them."""
    if target == STACKED:
        return stacked(count, seed, 2**31 - 1 - part)
    return _exact_points(target, count, seed, part)


def noise(target: str, count: int, seed: int) -> np.ndarray:
    """Uniform samples (count, size): in a square around all modes, or of pixels in [-1, 1]."""
    wide, size = (WIDE, 2) if target in POINTS else (1.0, PICTURES)
    return np.random.default_rng(seed).uniform(-wide, wide, (count, size)).astype(np.float32)


def modes_of(samples: np.ndarray) -> np.ndarray:
    """(n,) modes that a classifier of digits sees in pictures (n, 192)."""
    pictures = np.clip(samples.reshape(-1, SIDE, SIDE, stacked_digits.CHANNELS), -1.0, 1.0)
    answers = classifier_accuracy.predict(_judge(), stacked_digits.channels(pictures))
    return np.asarray(stacked_digits.mode_of(answers.reshape(-1, stacked_digits.CHANNELS)))


def report(target: str, samples: np.ndarray, labels: np.ndarray, count: int) -> ModeReport:
    """Modes of the first `count` samples: of points (n, 2), or of the labels (n,) that were seen in pictures."""
    if target == STACKED:
        return modes.classifier_modes(labels[:count], stacked_digits.MODES)
    law = POINTS[target]()
    return modes.mode_report(samples[:count], law.centres, law.std)


@functools.lru_cache(maxsize=64)
def _exact_points(target: str, count: int, seed: int, part: int) -> np.ndarray:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), DATA - 1), part)
    return np.asarray(POINTS[target]().draw(key, count))


@functools.lru_cache(maxsize=32)
def _points(target: str, seeds: tuple[int, ...], rows: int) -> Callable[[int], np.ndarray]:
    """From the number of a block of steps to their batches (BLOCK, rows, seeds, 2): one call per step would take as
    long as the step.
    """
    law = POINTS[target]()

    def at(step: jax.Array) -> jax.Array:
        keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), DATA) for seed in seeds])
        return jax.vmap(lambda key: law.draw(jax.random.fold_in(key, step), rows), out_axes=1)(keys)

    draw = devices.jit(jax.vmap(at))
    return functools.lru_cache(maxsize=2)(
        lambda block: np.asarray(draw(block * BLOCK + np.arange(BLOCK, dtype=np.uint32)))
    )


@functools.lru_cache(maxsize=1)
def _split() -> digits.Split:
    return digits.load()


@functools.lru_cache(maxsize=1)
def _judge() -> classifier_accuracy.Judge:
    split = _split()
    return classifier_accuracy.train(split.train_images, split.train_labels)
