"""gendiff's side of a comparison: the exact denoiser that both ask, their common start and noise, and a run of a
sampler.

Whatever scale a peer keeps its sample in, ends are compared as x / sqrt(alpha² + sigma²), which is x at the clean level
of any process.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays, records
from gendiff.diffusion import oracles, sampling
from gendiff.diffusion.types import Level, Prediction

SHAPE, COUNT, SEED = (2, 4, 4), 3, 7


@dataclasses.dataclass(frozen=True)
class Run:
    """x over its length where a peer started and ended, gendiff's levels for it, how often the peer asked the
    network.
    """

    start: np.ndarray
    end: np.ndarray
    levels: Level
    evaluations: int

    def distance(self, sampler):
        """How far from the peer's end the sampler ends."""
        return worst(ours(sampler, self.levels, self.start), self.end)


def oracle():
    """Three components close enough that the posterior mean is far from linear while sigma/alpha is between 0.3 and
    3.
    """
    return oracles.mixture([0.5, 0.3, 0.2], _parts(), [0.3, 0.5, 0.8])


@records.record
class WithShare:
    """The oracle, and an answer for learned variances: the share of the logarithm of the larger variance."""

    inner: oracles.Mixture

    def __call__(self, x, level):
        prediction = self.inner(x, level)
        return Prediction(prediction.clean, prediction.noise, variance_share=0.5 + 0.4 * jnp.sin(3 * x))


@jax.jit
def predicted(x, alpha, sigma):
    """What the exact network predicts: (clean, noise, share) of x at a level."""
    prediction = WithShare(oracle())(x, Level(sigma, alpha, sigma))
    return prediction.clean, prediction.noise, prediction.variance_share


def start(alpha, sigma):
    """x at a level, drawn from the data and noise."""
    rng = np.random.default_rng(SEED + 1)
    clean = _parts() + 0.5 * rng.normal(size=(COUNT, *SHAPE))
    return alpha * clean + sigma * rng.normal(size=(COUNT, *SHAPE))


def noise(step, early=False, levels=None, path=None):
    """The noise that gendiff's samplers draw in a step, by the rule of `sampling`.

    path: eta of a sampler that draws twice per step, on one path along the levels. early: that of the first half of the
        step alone.
    """
    if path is None:
        return _normal(step)
    first, second = _normal(step, 0), _normal(step, 1)
    with np.errstate(divide="ignore"):
        position = np.asarray(levels.log_snr)[step : step + 2] / 2
    remaining = np.exp(-(path**2) * (position[1] - position[0]) / 2)
    return first if early else (remaining * first + second) / np.sqrt(1 + remaining**2)


def ours(sampler, levels, x):
    """Where the sampler ends, from x over its length at the first level."""
    levels = jax.tree.map(jnp.asarray, levels)
    return np.asarray(_run(sampler, levels, jnp.asarray(x) * length(levels[0])))


def exact(levels, x):
    """Where the probability flow ends: at the last level with sigma > 0 and then at the posterior mean there."""
    levels = jax.tree.map(jnp.asarray, levels)
    last = -2 if levels.sigma[-1] == 0 else -1
    result = oracle().flow(jnp.asarray(x) * length(levels[0]), levels[0], levels[last])
    return np.asarray(oracle()(result, levels[last]).clean if last == -2 else result / length(levels[-1]))


def length(level):
    """sqrt(alpha² + sigma²)."""
    return (level.alpha**2 + level.sigma**2) ** 0.5


def worst(result, expected):
    """The largest difference of any entry; infinite where there is a NaN."""
    difference = np.abs(np.asarray(result, np.float64) - np.asarray(expected, np.float64))
    return float(np.max(np.where(np.isnan(difference), np.inf, difference)))


def _normal(step, *halves):
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(SEED), jnp.arange(COUNT))
    for number in (step + 1, *halves):
        keys = arrays.fold_in(keys, number)
    return np.asarray(arrays.normal(keys, jax.ShapeDtypeStruct((COUNT, *SHAPE), jnp.float64)))


@jax.jit
def _run(sampler, levels, x):
    result = sampling.sample(
        jax.random.key(SEED), WithShare(oracle()), sampler, levels, SHAPE, jnp.arange(COUNT), start=x
    )
    return result / length(levels[-1])


@functools.cache
def _parts():
    return np.random.default_rng(SEED).normal(size=(3, *SHAPE)) * 0.35
