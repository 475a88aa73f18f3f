"""Rendered shapes for diffusion transformers. No picture comes twice, so that every token is a fresh one."""

import functools
import hashlib

import numpy as np

from experiments.scaling.scaling_train.rows import SIDE, Row
from experiments.tasks import rendering, shapes
from gendiff import diffusion, networks
from gendiff.core.types import Loss
from gendiff.data import batches
from gendiff.diffusion import objectives, parameterization, schedules, weighting

RECIPE = shapes.Recipe()
HELD_OUT = 2**32 - 1
"""Seed of the held-out pictures, which no training has."""


def batch(row: Row, step: int) -> diffusion.Batch:
    """The pictures (batch, seeds, 16, 16, 3) of one step; each seed has pictures of its own."""
    index = batches.endless_at(row.batch, step)
    return diffusion.Batch(clean=np.stack([draw(seed, index) for seed in row.seeds], 1))


def held_out(row: Row) -> diffusion.Batch:
    """Held-out pictures (m, 16, 16, 3)."""
    return diffusion.Batch(clean=_held_out(row.judged))


def draw(seed: int, index: np.ndarray) -> np.ndarray:
    """Pictures of scenes of one to three shapes, by their numbers."""
    return rendering.render(shapes.draw(RECIPE, seed, index), SIDE)


def digest(row: Row) -> str:
    """Of the held-out pictures."""
    return hashlib.sha256(_held_out(row.judged).tobytes()).hexdigest()[:16]


@functools.lru_cache(maxsize=64)  # one object, so that all trainings of a network share a program
def loss(network: networks.DiT) -> Loss:
    """The squared error of the flow from pictures to noise, at levels that are evenly spread."""
    return objectives.denoising(
        networks.pure(network), schedules.flow(), parameterization.flow(), levels=weighting.stratified_levels()
    )


@functools.lru_cache(maxsize=2)
def _held_out(count: int) -> np.ndarray:
    return draw(HELD_OUT, np.arange(count))
