"""Bits per dimension of held-out digits given their labels, and how much a single draw of them varies.

Where a bound ends near the clean digits is free, and to go further costs bits that say nothing of the schedule; the
bound of its own ends is beside. The decoder's p(x | x_0) is proportional to q(x_0 | x) over the values of a pixel, so
nothing is dequantised and no offset is added. Every schedule draws from the same key, one u in each of equally many
parts.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from gendiff.commands.images.image_model import Model
from gendiff.core import arrays, sample_keys
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.diffusion import elbo
from gendiff.diffusion.likelihood.elbo import Bound
from gendiff.diffusion.schedules import Schedule
from gendiff.runs import devices
from gendiff.runs.reporting.verdicts import Number

BOUND_SEED = 1
"""Of the noise and levels at which bounds are drawn."""


class Meter:
    """Both measures for any parameters and schedule of one network; the schedule is (params of) the path that is
    integrated over.
    """

    def __init__(self, model: Model, images: np.ndarray, labels: np.ndarray, draws: int) -> None:
        self._model, self._draws, self._digits = model, draws, (jnp.asarray(images), jnp.asarray(labels))
        self._jitted_bound, self._jitted_rates = devices.jit(self._bound), devices.jit(self._rates)

    def bits(self, params: Params, schedule: Schedule, first: float) -> Bound:
        """(digits,) in float64, from u = `first` to the noisiest level."""
        bound = self._jitted_bound(params, schedule, *self._digits, np.float32(first))
        return jax.tree.map(lambda part: np.asarray(part, np.float64), bound)

    def rates(self, params: Params, schedule: Schedule) -> np.ndarray:
        """(digits, draws): the diffusion term of single draws in bits per dimension, u spread evenly over [0, 1]."""
        return np.asarray(self._jitted_rates(params, schedule, *self._digits), np.float64)

    def _bound(self, params: Params, schedule: Schedule, images: jax.Array, labels: jax.Array, first: Any) -> Bound:
        denoise = self._model.denoiser(params, labels)
        options: dict[str, Any] = {"span": (first, 1.0), "data_levels": digits.LEVELS, "draws": self._draws}
        return elbo.continuous(
            jax.random.key(BOUND_SEED), denoise, images, schedule, jnp.arange(len(images)), **options
        )

    def _rates(self, params: Params, schedule: Schedule, images: jax.Array, labels: jax.Array) -> jax.Array:
        denoise = self._model.denoiser(params, labels)
        keys = sample_keys.keys_of(jax.random.key(BOUND_SEED), jnp.arange(len(images)))

        def one(draw: jax.Array) -> jax.Array:
            keys_of_draw = arrays.fold_in(keys, draw)
            within = jax.vmap(lambda key: jax.random.uniform(key, (), images.dtype))(arrays.fold_in(keys_of_draw, 0))
            noise = arrays.normal(arrays.fold_in(keys_of_draw, 1), like=images)
            return elbo.path_rate(denoise, images, noise, schedule, (draw + within) / self._draws)

        return jax.lax.map(one, jnp.arange(self._draws)).T / (math.prod(images.shape[1:]) * math.log(2.0))


def bits_of(bound: Bound) -> Number:
    """The mean bits and their 95 % interval over the draws, the digits fixed."""
    value, error = float(np.mean(bound.bits)), float(np.sqrt(np.sum(bound.standard_error**2)) / len(bound.bits))
    return value, value - 1.96 * error, value + 1.96 * error


def own_end(schedule: Schedule) -> float:
    """The u of the cleanest level: the first entry of a table, 0 of a path without."""
    return 0.0 if schedule.table is None else 1 / len(schedule.table)


def position(schedule: Schedule, log_snr: float) -> float:
    """The u at which log-SNR falls to `log_snr`, or the cleanest level where it is below already."""

    def above(u: float) -> float:
        return schedule.at(np.float64(u)).log_snr - log_snr

    first = own_end(schedule)
    return first if above(first) <= 0 else scipy.optimize.bisect(above, first, 1.0, xtol=1e-15)
