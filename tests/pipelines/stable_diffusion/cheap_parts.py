"""Pipelines whose networks are formulas, so that a program compiles in a moment and results are known."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import diffusion, networks
from gendiff.networks.images.diagonal_gaussian import DiagonalGaussian
from gendiff.pipelines.stable_diffusion import LatentPipeline, Prompt, PromptPipeline, TextTowers

FACTOR, SHAPE, LENGTH = 2, (2, 4, 3), 5
SCHEDULE = diffusion.schedules.scaled_linear(100)
LEVELS = diffusion.grids.trailing(SCHEDULE, 4)
PARAMS = jax.device_put({"text": {"one": np.float32(0.5)}, "network": np.float32(0.3), "autoencoder": np.float32(2.0)})


def read(params, ids):
    """Ids as their own encoding of two channels."""
    words = params * jnp.stack([ids, ids**2], -1).astype(jnp.float32) / 10
    return networks.Text(words, jnp.ones(ids.shape, bool), words.mean(1))


def predict(params, x, t, text, *size):
    """Moves with x, the text, and whatever is told of a size."""
    moved = text.tokens.mean((1, 2))[:, None, None, None]
    for each in size:
        last = each.target.sum(-1) if each.score is None else each.score
        moved = moved + (each.original.sum(-1) + last)[:, None, None, None] / 100
    return params * x + moved + t[:, None, None, None] / 1000


def predict_of_scale(params, x, t, text, guidance):
    """Moves with the guidance scale that it is told, too."""
    return predict(params, x, t, text) + jnp.asarray(guidance.scale)[:, None, None, None] / 10


def predict_of_class(params, x, t, label):
    """Twice the channels of x."""
    return jnp.concatenate([params * x + label[:, None, None, None] / 10, x], -1)


def encode(params, pictures):
    """The mean of each square of 2 × 2 pixels, times a number."""
    count, height, width, channels = pictures.shape
    squares = pictures.reshape(count, height // FACTOR, FACTOR, width // FACTOR, FACTOR, channels)
    mean = params * squares.mean((2, 4))
    return DiagonalGaussian(mean, jnp.zeros_like(mean))


def decode(params, latents):
    """The inverse on pictures whose squares have one colour."""
    return jnp.repeat(jnp.repeat(latents / params, FACTOR, 1), FACTOR, 2)


def latent(sampler=None, **fields):
    chosen = diffusion.samplers.ddim(1.0) if sampler is None else sampler
    velocity = diffusion.parameterization.velocity()
    return LatentPipeline(*(fields.pop("predict", predict), velocity, chosen, LEVELS, SHAPE, encode, decode), **fields)


def pipeline(sampler=None, image_size=False, **fields):
    return PromptPipeline(TextTowers(("one",), (read,)), latent(sampler, **fields), FACTOR, image_size)


def prompt(*firsts, rows=1):
    """A text for each number, which is its first word."""
    ids = np.tile(np.arange(LENGTH, dtype=np.int32), (len(firsts), rows, 1))
    ids[:, 0, 1] = firsts
    empty = np.arange(LENGTH, dtype=np.int32)[None]
    return Prompt((ids,), (np.ones(ids.shape, np.float32),), (empty,), np.zeros(len(firsts), bool))


def picture(seed=0):
    """(1, 4, 8, 3) of squares of one colour, so that it is what its latents decode to."""
    small = np.random.default_rng(seed).uniform(-1, 1, (1, *SHAPE)).astype(np.float32)
    return small.repeat(FACTOR, 1).repeat(FACTOR, 2)


def mask():
    """(1, 4, 8, 1): all of the right half, and one pixel of the left one, is drawn anew."""
    result = np.zeros((1, 4, 8, 1), np.float32)
    result[:, :, 4:], result[:, 1, 1] = 1, 1
    return result
