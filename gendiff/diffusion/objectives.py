"""The diffusion Loss: add noise at a random level, ask the network, weigh the error."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import NO_LABEL, Loss, Metrics, Params
from gendiff.diffusion import process, schedules, weighting
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Predict


@records.record
class _Diffusion:
    predict: Predict = records.static()
    schedule: Schedule = records.static()
    parameterization: Parameterization = records.static()
    weight: weighting.Weight = records.static()
    levels: weighting.LevelSampler = records.static()
    drop_condition: float = records.static()
    null: Any = records.static()
    stochastic: bool = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        checks.floating("batch.clean", batch.clean)
        level_key, noise_key, drop_key, network_key = jax.random.split(key, 4)
        count = batch.clean.shape[0]
        level = self.levels(level_key, self.schedule, count)
        noise = jax.random.normal(noise_key, batch.clean.shape, batch.clean.dtype)
        x = process.add_noise(batch.clean, noise, level)
        condition = _dropped(drop_key, batch.condition, self.drop_condition, self.null, count)
        chance = {"key": network_key} if self.stochastic else {}
        output = self.predict(params, self.parameterization.scale_in(x, level), level.t.astype(x.dtype), *condition, **chance)
        if output.shape != x.shape:
            raise TypeError(f"the network answered shape {output.shape} to x of shape {x.shape}: they must be equal")
        squared = jnp.square(output.astype(x.dtype) - self.parameterization.target(batch.clean, noise, level))
        error = jnp.mean(arrays.flatten_samples(squared), axis=1)
        weight = self.weight(level, self.parameterization.gain(level)).astype(x.dtype)
        return jnp.mean(weight * error), {"mse": jnp.mean(error)}


def denoising(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    weight: weighting.Weight | None = None,
    levels: weighting.LevelSampler | None = None,
    drop_condition: float = 0.1,
    null: Any = NO_LABEL,
    stochastic: bool | None = None,
) -> Loss:
    """Mean over samples of weight(level) · mean squared error of the network's target (Ho et al., 2020, Eq. 14, for any parameterization).

    weight: default `weighting.uniform()`. levels: default `weighting.uniform_levels()`. drop_condition: share of samples in [0, 1] whose
    conditions are replaced by `null` (Ho & Salimans, 2022, Alg. 1): one value for all of them, or a tuple with one for each; it says
    nothing where a batch has no condition. stochastic: whether the network gets a fresh `key=` at every call, for dropout; None asks its
    attribute `stochastic`, which networks of `networks.pure` have. Metrics: `mse`, the unweighted error.

    Raises ValueError for noise prediction on a schedule that reaches alpha = 0, and warns where sigma / alpha exceeds 200: there
    the first sampling step multiplies the network's error by that ratio.
    """
    checks.in_range("drop_condition", drop_condition, 0.0, 1.0)
    if parameterization.divides_by_alpha:
        _refuse_lost_signal(schedule)
    return _Diffusion(
        predict,
        schedule,
        parameterization,
        weight or weighting.uniform(),
        levels or weighting.uniform_levels(),
        float(drop_condition),
        null,
        getattr(predict, "stochastic", False) if stochastic is None else stochastic,
    )


def _refuse_lost_signal(schedule: Schedule) -> None:
    ratio = schedules.max_noise_ratio(schedule)
    if math.isinf(ratio):
        raise ValueError("noise prediction divides by alpha, which is 0 at the end of this schedule; use parameterization.velocity()")
    if ratio > 200:
        warnings.warn(
            f"noise prediction on a schedule whose sigma / alpha reaches {ratio:.0f} (> 200): the first sampling step multiplies the "
            "network's error by it; use parameterization.velocity()",
            stacklevel=3,
        )


def _dropped(key: jax.Array, condition: Any, share: float, null: Any, count: int) -> tuple[Any, ...]:
    given = condition if isinstance(condition, tuple) else (condition,)
    if not given or share == 0.0:
        return given
    nulls = null if isinstance(null, tuple) else (null,) * len(given)
    if len(nulls) != len(given):
        raise ValueError(f"{len(nulls)} null conditions for {len(given)} conditions: give one for all, or one for each")
    drop = jax.random.bernoulli(key, share, (count,))

    def one(value: jax.Array, nothing: Any) -> jax.Array:
        value = jnp.asarray(value)
        where = drop.reshape((count,) + (1,) * (value.ndim - 1))
        return jnp.where(where, jnp.broadcast_to(jnp.asarray(nothing, value.dtype), value.shape), value)

    return tuple(jax.tree.map(lambda leaf, n=nothing: one(leaf, n), value) for value, nothing in zip(given, nulls, strict=True))
