"""Bits per dimension of held-out digits given their labels, and how much a single draw of them varies.

The continuous variational bound (Kingma et al., 2021), prior and decoder included: each schedule reports an upper bound on
-log2 p(x | label) / 64 for digits of 17 whole values, from its noisiest level to one log-SNR that is the same for all. Where a bound ends
near the clean digits is free, and to go further costs bits that say nothing of the schedule; the bound of its own ends is beside.
The decoder's p(x | x_0) is proportional to q(x_0 | x) over those values, so nothing is dequantised and no offset is added. Every schedule
draws from the same key, one u in each of equally many parts.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.image_model import Model
from experiments.framework import drawing
from experiments.reporting.verdicts import Number
from gendiff.core import arrays
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.diffusion import denoiser, elbo, sampling
from gendiff.diffusion.schedules import Schedule

SEED = 1
"""Of the noise and levels drawn."""


@dataclass(frozen=True)
class Bits:
    """bits, prior, diffusion, decoder (digits,), in bits per dimension; error (): the standard error of the mean bits over the draws."""

    bits: np.ndarray
    prior: np.ndarray
    diffusion: np.ndarray
    decoder: np.ndarray
    error: float

    @property
    def interval(self) -> Number:
        """The mean bits and their 95 % interval over the draws, the digits fixed."""
        value, spread = float(np.mean(self.bits)), 1.96 * self.error
        return value, value - spread, value + spread


class Meter:
    """Both measures for any parameters and schedule of one network; the schedule is (params of) the path that is integrated over."""

    def __init__(self, model: Model, images: np.ndarray, labels: np.ndarray, draws: int) -> None:
        self._images, self._labels = jnp.asarray(images), jnp.asarray(labels)
        self._bound = drawing.jit(functools.partial(_bound, model, draws))
        self._rates = drawing.jit(functools.partial(_rates, model, draws))

    def bits(self, params: Params, schedule: Schedule, first: float) -> Bits:
        """From u = `first` to the noisiest level."""
        bound = self._bound(params, schedule, self._images, self._labels, np.float32(first))
        parts = (bound.bits, bound.prior, bound.diffusion, bound.reconstruction, bound.standard_error)
        bits, prior, diffusion, decoder, error = (np.asarray(part, np.float64) for part in parts)
        return Bits(bits, prior, diffusion, decoder, float(np.sqrt(np.sum(error**2)) / len(error)))

    def rates(self, params: Params, schedule: Schedule) -> np.ndarray:
        """(digits, draws): the diffusion term of single draws in bits per dimension, u spread evenly over [0, 1]."""
        return np.asarray(self._rates(params, schedule, self._images, self._labels), np.float64)


def own_end(schedule: Schedule) -> float:
    """The u of the cleanest level: the first entry of a table, 0 of a path without."""
    return 0.0 if schedule.table is None else 1 / len(schedule.table)


def position(schedule: Schedule, log_snr: float) -> float:
    """The u at which log-SNR falls to `log_snr`, by bisection in float64, or the cleanest level where it is below already."""
    low, high = own_end(schedule), 1.0
    if schedule.at(np.float64(low)).log_snr <= log_snr:
        return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if schedule.at(np.float64(middle)).log_snr > log_snr else (low, middle)
    return low


def _bound(model: Model, draws: int, params: Params, schedule: Schedule, images: jax.Array, labels: jax.Array, first: Any) -> Any:
    denoise = denoiser.from_network(model.predict, params, model.parameterization, labels)
    key, index = jax.random.key(SEED), jnp.arange(len(images))
    return elbo.continuous(key, denoise, images, schedule, index, span=(first, 1.0), data_levels=digits.LEVELS, draws=draws)


def _rates(model: Model, draws: int, params: Params, schedule: Schedule, images: jax.Array, labels: jax.Array) -> jax.Array:
    denoise = denoiser.from_network(model.predict, params, model.parameterization, labels)
    keys = sampling.keys_of(jax.random.key(SEED), jnp.arange(len(images)))

    def one(draw: jax.Array) -> jax.Array:
        own = arrays.fold_in(keys, draw)
        within = jax.vmap(lambda key: jax.random.uniform(key, (), images.dtype))(arrays.fold_in(own, 0))
        noise = arrays.normal(arrays.fold_in(own, 1), like=images)
        return elbo.path_rate(denoise, images, noise, schedule, (draw + within) / draws)

    return jax.lax.map(one, jnp.arange(draws)).T / (math.prod(images.shape[1:]) * math.log(2.0))
