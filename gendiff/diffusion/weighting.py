"""Which levels to train on, and how much each counts.

A weight is a function (level, gain) -> (b,), the factor on the squared error of the network's own target; `gain` is the
parameterization's |target error|² / |clean error|², so a weight stated on the clean error is divided by it.
A level sampler is a function (key, schedule, count) -> Level of (count,). On a schedule with a table, the samplers of u answer its entries.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import checks, records
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level

Weight = Callable[[Level, jax.Array], jax.Array]
LevelSampler = Callable[[jax.Array, Schedule, int], Level]


@records.record
class _Weight:
    formula: Callable[..., jax.Array] = records.static()
    settings: tuple[float, ...] = records.static(default=())

    def __call__(self, level: Level, gain: Array) -> Array:
        snr = (jnp.asarray(level.alpha) / jnp.asarray(level.sigma)) ** 2
        return self.formula(snr, gain, *self.settings)


def uniform() -> Weight:
    """1 on the target's own error: the simple loss of each parameterization (Ho et al., 2020, Eq. 14, for noise)."""
    return _Weight(_uniform)


def min_snr(gamma: float = 5.0) -> Weight:
    """min(SNR, gamma) on the clean error: min(s, g) / s on noise, min(s, g) / (s + 1) on velocity (Hang et al., 2023, Sec. 3.4)."""
    checks.in_range("gamma", gamma, 0.0, float("inf"), open_low=True, open_high=True)
    return _Weight(_min_snr, (float(gamma),))


def p2(gamma: float = 1.0, k: float = 1.0) -> Weight:
    """1 / (k + SNR)^gamma on the noise error (Choi et al., 2022, Eq. 8)."""
    checks.in_range("gamma", gamma, 0.0, float("inf"), open_high=True)
    checks.in_range("k", k, 0.0, float("inf"), open_low=True, open_high=True)
    return _Weight(_p2, (float(gamma), float(k)))


def edm(data_std: float = 0.5) -> Weight:
    """(sigma² + s²) / (sigma s)² on the clean error, for sigma / alpha as sigma (Karras et al., 2022, Tab. 1): 1 on the EDM target."""
    checks.in_range("data_std", data_std, 0.0, float("inf"), open_low=True, open_high=True)
    return _Weight(_edm, (float(data_std),))


def sigmoid(bias: float = 0.0) -> Weight:
    """sigmoid(bias - log SNR) on the noise error (Kingma & Gao, 2023; Hoogeboom et al., 2024, Eq. 6).

    Their integral runs over log-SNR: the density of the levels drawn takes the place of its d(log SNR)/du.
    """
    checks.finite("bias", bias)
    return _Weight(_sigmoid, (float(bias),))


@records.record
class _Levels:
    draw: Callable[..., Level] = records.static()
    settings: tuple[float, ...] = records.static(default=())

    def __call__(self, key: jax.Array, schedule: Schedule, count: int) -> Level:
        return self.draw(key, schedule, count, *self.settings)


def uniform_levels() -> LevelSampler:
    """u uniform in (0, 1]; on a table every entry is equally likely."""
    return _Levels(_uniform_levels)


def stratified_levels() -> LevelSampler:
    """One uniform offset and equal spacing: the batch covers (0, 1] evenly, each sample is still uniform (Kingma et al., 2021, I.1)."""
    return _Levels(_stratified_levels)


def log_normal_levels(mean: float = -1.2, std: float = 1.2) -> LevelSampler:
    """ln(sigma / alpha) normal (Karras et al., 2022, Tab. 1)."""
    checks.finite("mean", mean)
    checks.in_range("std", std, 0.0, float("inf"), open_low=True, open_high=True)
    return _Levels(_log_normal_levels, (float(mean), float(std)))


def logit_normal_levels(mean: float = 0.0, std: float = 1.0) -> LevelSampler:
    """logit(u) normal (Esser et al., 2024, Eq. 19), meant for a flow schedule."""
    checks.finite("mean", mean)
    checks.in_range("std", std, 0.0, float("inf"), open_low=True, open_high=True)
    return _Levels(_logit_normal_levels, (float(mean), float(std)))


def _uniform(snr: jax.Array, gain: jax.Array) -> jax.Array:
    return jnp.ones_like(snr)


def _min_snr(snr: jax.Array, gain: jax.Array, gamma: float) -> jax.Array:
    return jnp.minimum(snr, gamma) / gain


def _p2(snr: jax.Array, gain: jax.Array, gamma: float, k: float) -> jax.Array:
    return snr / (k + snr) ** gamma / gain


def _edm(snr: jax.Array, gain: jax.Array, std: float) -> jax.Array:
    return (1 / std**2 + snr) / gain


def _sigmoid(snr: jax.Array, gain: jax.Array, bias: float) -> jax.Array:
    return snr / (1 + snr * math.exp(-bias)) / gain  # snr * sigmoid(bias - log snr), differentiable at snr = 0


def _uniform_levels(key: jax.Array, schedule: Schedule, count: int) -> Level:
    return _at(schedule, 1 - jax.random.uniform(key, (count,)))


def _stratified_levels(key: jax.Array, schedule: Schedule, count: int) -> Level:
    offset = jax.random.uniform(key, ())
    return _at(schedule, 1 - (jnp.arange(count) / count + offset) % 1)


def _log_normal_levels(key: jax.Array, schedule: Schedule, count: int, mean: float, std: float) -> Level:
    return schedule.at_log_snr(-2 * (mean + std * jax.random.normal(key, (count,))))


def _logit_normal_levels(key: jax.Array, schedule: Schedule, count: int, mean: float, std: float) -> Level:
    return _at(schedule, jax.nn.sigmoid(mean + std * jax.random.normal(key, (count,))))


def _at(schedule: Schedule, u: jax.Array) -> Level:
    """The level at u, and on a table the entry ceil(u T) - 1, so that a chain is trained on the levels it has."""
    if schedule.table is None:
        return schedule.at(u)
    steps = len(schedule.table)
    index = jnp.clip(jnp.ceil(u * steps).astype(int) - 1, 0, steps - 1)
    return jax.tree.map(lambda field: jnp.asarray(field, u.dtype)[index], schedule.table)
