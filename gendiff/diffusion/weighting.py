"""Which levels to train on, and how much each counts.

A weight is a function (level, gain) -> (b,), the factor on the squared error of the network's own target; `gain` is the
parameterization's |target error|² / |clean error|², so a weight stated on the clean error is divided by it.
A level sampler is a function (key, schedule, count) -> Level of (count,). On a schedule with a table, the samplers of u
answer its entries. Both are records here: equal settings compare and hash equal, so rebuilding one does not retrace.
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


def uniform() -> Weight:
    """1 on the target's own error: the simple loss of each parameterization.

    References:
        Ho et al., 2020, Eq. 14, for noise.
    """
    return _UniformWeight()


def min_snr(gamma: float = 5.0) -> Weight:
    """The weight min(SNR, gamma) on the clean error: min(s, g) / s on noise, min(s, g) / (s + 1) on velocity.

    Also known as: min-SNR-γ.

    Args:
        gamma: the largest weight, above 0.

    References:
        Hang et al., 2023, Sec. 3.4.
    """
    checks.in_range("gamma", gamma, 0.0, math.inf, open_low=True, open_high=True)
    return _MinSnrWeight(float(gamma))


def p2(gamma: float = 1.0, k: float = 1.0) -> Weight:
    """The weight 1 / (k + SNR)^gamma on the noise error.

    Also known as: P2 weighting.

    Args:
        gamma: at least 0.
        k: above 0.

    References:
        Choi et al., 2022, Eq. 8.
    """
    checks.in_range("gamma", gamma, 0.0, math.inf, open_high=True)
    checks.in_range("k", k, 0.0, math.inf, open_low=True, open_high=True)
    return _P2Weight(float(gamma), float(k))


def truncated_snr() -> Weight:
    """The weight max(SNR, 1) on the clean error: pure noise counts too, where a student of few steps begins.

    Also known as: truncated SNR weighting.

    References:
        Salimans & Ho, 2022, Sec. 4 (from memory).
    """
    return _TruncatedSnrWeight()


def edm(data_std: float = 0.5) -> Weight:
    """The weight (sigma² + s²) / (sigma s)² on the clean error, for sigma / alpha as sigma: 1 on the EDM target.

    Also known as: EDM loss weighting.

    Args:
        data_std: s, the standard deviation of the data, above 0.

    References:
        Karras et al., 2022, Tab. 1.
    """
    checks.in_range("data_std", data_std, 0.0, math.inf, open_low=True, open_high=True)
    return _EdmWeight(float(data_std))


def sigmoid(bias: float = 0.0) -> Weight:
    """The weight 1 / (1 + exp(log SNR - bias)) on the noise error.

    Also known as: sigmoid weighting.

    The papers' integral runs over log-SNR: the density of the levels drawn takes the place of its d(log SNR)/du.

    Args:
        bias: the log-SNR at which the weight is one half.

    References:
        Kingma & Gao, 2023; Hoogeboom et al., 2024, Eq. 6.
    """
    checks.finite("bias", bias)
    return _SigmoidWeight(float(bias))


def uniform_levels(span: tuple[float, float] = (0.0, 1.0)) -> LevelSampler:
    """Levels with u uniform in a part of (0, 1]; on a table every entry there is equally likely.

    Args:
        span: the least u, which is left out, and the largest, with 0 <= low < high <= 1.
    """
    low, high = span
    checks.in_range("span[1]", high, 0.0, 1.0, open_low=True)
    checks.in_range("span[0]", low, 0.0, high, open_high=True)
    return _UniformLevels((float(low), float(high)))


def stratified_levels() -> LevelSampler:
    """One uniform offset and equal spacing: the batch covers (0, 1] evenly, and each sample is still uniform.

    References:
        Kingma et al., 2021, App. I.1.
    """
    return _StratifiedLevels()


def log_normal_levels(mean: float = -1.2, std: float = 1.2) -> LevelSampler:
    """Levels with ln(sigma / alpha) normal.

    Args:
        mean: of ln(sigma / alpha).
        std: its standard deviation, above 0.

    References:
        Karras et al., 2022, Tab. 1.
    """
    return _LogNormalLevels(*_normal(mean, std))


def logit_normal_levels(mean: float = 0.0, std: float = 1.0) -> LevelSampler:
    """Levels with logit(u) normal, meant for a flow schedule.

    Args:
        mean: of logit(u).
        std: its standard deviation, above 0.

    References:
        Esser et al., 2024, Eq. 19.
    """
    return _LogitNormalLevels(*_normal(mean, std))


@records.record
class _UniformWeight:
    def __call__(self, level: Level, gain: Array) -> Array:
        return jnp.ones_like(_snr(level))


@records.record
class _MinSnrWeight:
    gamma: float = records.static()

    def __call__(self, level: Level, gain: Array) -> Array:
        return jnp.minimum(_snr(level), self.gamma) / gain


@records.record
class _P2Weight:
    gamma: float = records.static()
    k: float = records.static()

    def __call__(self, level: Level, gain: Array) -> Array:
        snr = _snr(level)
        return snr / (self.k + snr) ** self.gamma / gain


@records.record
class _TruncatedSnrWeight:
    def __call__(self, level: Level, gain: Array) -> Array:
        return jnp.maximum(_snr(level), 1.0) / gain


@records.record
class _EdmWeight:
    data_std: float = records.static()

    def __call__(self, level: Level, gain: Array) -> Array:
        return (1 / self.data_std**2 + _snr(level)) / gain


@records.record
class _SigmoidWeight:
    bias: float = records.static()

    def __call__(self, level: Level, gain: Array) -> Array:
        snr = _snr(level)
        return snr / (1 + snr * math.exp(-self.bias)) / gain  # snr * sigmoid(bias - log snr), differentiable at snr = 0


@records.record
class _UniformLevels:
    span: tuple[float, float] = records.static()

    def __call__(self, key: jax.Array, schedule: Schedule, count: int) -> Level:
        low, high = self.span
        return _at(schedule, high - (high - low) * jax.random.uniform(key, (count,)))


@records.record
class _StratifiedLevels:
    def __call__(self, key: jax.Array, schedule: Schedule, count: int) -> Level:
        offset = jax.random.uniform(key, ())
        return _at(schedule, 1 - (jnp.arange(count) / count + offset) % 1)


@records.record
class _LogNormalLevels:
    mean: float = records.static()
    std: float = records.static()

    def __call__(self, key: jax.Array, schedule: Schedule, count: int) -> Level:
        return schedule.at_log_snr(-2 * (self.mean + self.std * jax.random.normal(key, (count,))))


@records.record
class _LogitNormalLevels:
    mean: float = records.static()
    std: float = records.static()

    def __call__(self, key: jax.Array, schedule: Schedule, count: int) -> Level:
        return _at(schedule, jax.nn.sigmoid(self.mean + self.std * jax.random.normal(key, (count,))))


def _normal(mean: float, std: float) -> tuple[float, float]:
    checks.finite("mean", mean)
    checks.in_range("std", std, 0.0, math.inf, open_low=True, open_high=True)
    return float(mean), float(std)


def _snr(level: Level) -> Array:
    return (jnp.asarray(level.alpha) / jnp.asarray(level.sigma)) ** 2


def _at(schedule: Schedule, u: Array) -> Level:
    """The level at u, and on a table the entry ceil(u T) - 1, so that a chain is trained on the levels it has."""
    if schedule.table is None:
        return schedule.at(u)
    steps = len(schedule.table)
    index = jnp.clip(jnp.ceil(u * steps).astype(int) - 1, 0, steps - 1)
    level: Level = jax.tree.map(lambda field: jnp.asarray(field, u.dtype)[index], schedule.table)
    return level
