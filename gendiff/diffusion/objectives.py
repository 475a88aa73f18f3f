"""The diffusion Loss: add noise at a random level, ask the network, weigh the error."""

import math
import warnings

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import NO_LABEL, Condition, Loss, Metrics, Params, Scalar
from gendiff.diffusion import conditions, immiscible, process, schedules, weighting
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Level, Predict, Prediction


@records.record
class NetworkLoss:
    """What the losses of a network share: whom they ask, and the weighted error of its answer.

    Args:
        predict: the network.
        parameterization: what its output means.
        weight: the factor on each sample's error.
        stochastic: whether the network gets a key.
    """

    predict: Predict = records.static()
    parameterization: Parameterization = records.static()
    weight: weighting.Weight = records.static()
    stochastic: bool = records.static()

    def error(
        self,
        params: Params,
        key: jax.Array,
        x: Float[Array, "b *shape"],
        level: Level,
        condition: tuple[Condition, ...],
        target: Prediction,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Mean over samples of weight(level) · mean squared error of the network's output for x, against `target`.

        Args:
            params: of the network.
            key: for the network's dropout.
            x: (b, …) at `level`.
            level: (b,).
            condition: the network's other inputs, aligned with x.
            target: the prediction to learn, in both forms.

        Raises:
            TypeError: for an answer of another shape than x.
        """
        chance = {"key": key} if self.stochastic else {}
        output = self.predict(params, self.parameterization.scale_in(x, level), level.t_for(x), *condition, **chance)
        if output.shape != x.shape:
            raise TypeError(f"the network answered shape {output.shape} to x of shape {x.shape}: they must be equal")
        error, weight = self.error_and_weight(output.astype(x.dtype), level, target)
        return jnp.mean(weight * error), {"mse": jnp.mean(error)}

    def error_and_weight(
        self, output: Float[Array, "b *shape"], level: Level, target: Prediction
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """The mean squared error of each sample's output against `target` at a level (b,), and its weight."""
        squared = jnp.square(output - self.parameterization.target(target.clean, target.noise, level))
        error = jnp.mean(arrays.flatten_samples(squared), axis=1)
        return error, self.weight(level, self.parameterization.gain(level)).astype(output.dtype)


@records.record
class DenoisingLoss(NetworkLoss):
    """The loss of `denoising`."""

    schedule: Schedule = records.static()
    levels: weighting.LevelSampler = records.static()
    drop_condition: float | tuple[float, ...] = records.static()
    null: Condition = NO_LABEL
    noise: immiscible.NoiseSampler = records.static(default=immiscible.IndependentNoise())

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, condition = parts_of(batch)
        level_key, noise_key, drop_key, network_key = jax.random.split(key, 4)
        level = self.levels(level_key, self.schedule, clean.shape[0])
        noise = self.noise(noise_key, clean)
        checks.same_shape("noise", noise, "batch.clean", clean)
        x = process.add_noise(clean, noise, level)
        condition = dropped(drop_key, condition, clean.shape[0], self.drop_condition, self.null)
        return self.error(params, network_key, x, level, condition, Prediction(clean, noise))


def denoising(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    weight: weighting.Weight | None = None,
    levels: weighting.LevelSampler | None = None,
    drop_condition: float | tuple[float, ...] = 0.1,
    null: Condition = NO_LABEL,
    stochastic: bool | None = None,
    noise: immiscible.NoiseSampler | None = None,
) -> Loss:
    """Mean over samples of weight(level) · mean squared error of the network's target.

    Also known as: denoising score matching; the DDPM loss (L_simple); the flow-matching loss.

    Args:
        predict: the network, (params, x, t, *condition) -> output. t is (b,) and never in less than float32.
        schedule: the noise path.
        parameterization: what the network's output means.
        weight: the factor on each sample's error; default `weighting.uniform()`.
        levels: how levels are drawn; default `weighting.uniform_levels()`.
        drop_condition: share of samples in [0, 1] whose conditions are replaced by `null`: one number drops all
            conditions of a sample together, a tuple with one for each drops each on its own. Nothing happens where a
            batch has no condition.
        null: one value for all conditions, or a tuple with one for each. Each is one value, such as a label, an
            embedding or `networks.NO_TEXT`, or a pytree with the structure of its condition, such as the
            `networks.Text` of an empty caption. None in a tuple: that condition is never dropped.
        stochastic: whether the network gets a fresh `key=` at every call, for dropout. None asks its attribute
            `stochastic`, which networks of `networks.pure` have.
        noise: how noise is drawn, (key, clean) -> noise, such as `immiscible.nearest(4)`; default standard normal,
            independent of the clean samples.

    Returns:
        The loss (params, key, batch) -> (scalar, metrics), with the unweighted error as metric `mse`. The batch is a
        `diffusion.Batch`.

    Raises:
        ValueError: for shares outside [0, 1], `null=None`, and noise prediction on a schedule that reaches alpha = 0.
            Where sigma / alpha exceeds 200 it warns: the first sampling step multiplies the network's error by that
            ratio.

    References:
        Ho et al., 2020, Eq. 14, for any parameterization; Ho & Salimans, 2022, Alg. 1, for the dropped conditions.
    """
    refuse_lost_signal(parameterization, schedule)
    return DenoisingLoss(
        *path_fields(predict, schedule, parameterization, weight, levels, stochastic),
        checked_shares(drop_condition, null),
        null,
        noise or immiscible.IndependentNoise(),
    )


def parts_of(batch: Batch) -> tuple[jax.Array, tuple[Condition, ...]]:
    """The clean samples (b, …) of a batch, and its conditions as a tuple.

    Raises:
        TypeError: for what is no batch of floating samples.
    """
    if not isinstance(batch, Batch):
        raise TypeError(f"batch is a {type(batch).__name__}: pass diffusion.Batch(clean=images, condition=(labels,))")
    checks.floating("batch.clean", batch.clean)
    return jnp.asarray(batch.clean), batch.condition if isinstance(batch.condition, tuple) else (batch.condition,)


def without_condition(condition: tuple[Condition, ...], null: Condition) -> tuple[Condition, ...]:
    """What the unconditional network of guidance is told: the nulls, but a condition whose null is None stays.

    Raises:
        ValueError: for no condition, and for a tuple of nulls of another length.
    """
    if not condition:
        raise ValueError(
            "the batch has no condition, so that guidance changes nothing: pass diffusion.Batch(clean, condition)"
        )
    return tuple(
        label if null is None else null for label, null in zip(condition, _nulls_for(condition, null), strict=True)
    )


def checked_shares(shares: float | tuple[float, ...], null: Condition) -> float | tuple[float, ...]:
    """The shares of samples that lose their conditions, as `dropped` takes them.

    Raises:
        ValueError: for shares outside [0, 1], and no null.
    """
    checks.in_range("drop_condition", shares, 0.0, 1.0)
    if null is None:
        raise ValueError("null = None names no null for any condition: give one, or drop_condition=0.0")
    return tuple(map(float, shares)) if isinstance(shares, tuple) else float(shares)


def dropped(
    key: jax.Array, condition: tuple[Condition, ...], samples: int, shares: float | tuple[float, ...], null: Condition
) -> tuple[Condition, ...]:
    """The conditions, with those of some samples replaced by their null.

    Args:
        key: which samples lose theirs.
        condition: of a number of samples.
        samples: their number.
        shares: how many of the samples, in [0, 1], lose all their conditions; or one share for each condition, each on
            its own.
        null: what takes their place, as for `denoising`.

    Raises:
        ValueError: for shares or nulls that are not one for each condition, and a null that does not fit its condition.
    """
    if not condition or shares == 0.0:
        return condition
    drops = _drops(key, len(condition), samples, shares)
    return tuple(
        value if drop is None or null is None else _with_null(drop, value, null)
        for drop, value, null in zip(drops, condition, _nulls_for(condition, null), strict=True)
    )


def path_fields(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    weight: weighting.Weight | None,
    levels: weighting.LevelSampler | None,
    stochastic: bool | None,
) -> tuple[Predict, Parameterization, weighting.Weight, bool, Schedule, weighting.LevelSampler]:
    """The fields that losses on one noise path begin with, defaults filled in."""
    chance = draws_at_random(predict, stochastic)
    path = schedule, levels or weighting.uniform_levels()
    return predict, parameterization, weight or weighting.uniform(), chance, *path


def draws_at_random(predict: Predict, stochastic: bool | None) -> bool:
    """Whether a network gets a key: by the argument, or by the network's attribute `stochastic` (`networks.pure`)."""
    return getattr(predict, "stochastic", False) if stochastic is None else stochastic


def refuse_lost_signal(parameterization: Parameterization, schedule: Schedule) -> None:
    """ValueError for noise prediction on a schedule that reaches alpha = 0; a warning if sigma / alpha exceeds 200."""
    if not parameterization.divides_by_alpha:
        return
    ratio = schedules.max_noise_ratio(schedule)
    if math.isinf(ratio):
        raise ValueError(
            "noise prediction divides by alpha, which is 0 at the end of this schedule; use parameterization.velocity()"
        )
    if ratio > 200:
        warnings.warn(
            f"noise prediction on a schedule whose sigma / alpha reaches {ratio:.0f} (> 200): the first sampling step "
            "multiplies the network's error by it; use parameterization.velocity()",
            stacklevel=3,
        )


def _nulls_for(condition: tuple[Condition, ...], null: Condition) -> tuple[Condition, ...]:
    """A null for each condition: those of a tuple, or one value for all. ValueError for a tuple of another length."""
    nulls = null if isinstance(null, tuple) else (null,) * len(condition)
    if len(nulls) != len(condition):
        raise ValueError(
            f"{len(nulls)} null conditions for {len(condition)} conditions: give one for all, or one for each"
        )
    return nulls


def _drops(key: jax.Array, number: int, samples: int, shares: float | tuple[float, ...]) -> list[jax.Array | None]:
    """For each of a number of conditions the samples (b,) that lose it; None where none does."""
    if not isinstance(shares, tuple):
        return [jax.random.bernoulli(key, shares, (samples,))] * number
    if len(shares) != number:
        raise ValueError(
            f"drop_condition has {len(shares)} shares for {number} conditions: give one for all, or one for each"
        )
    keys = jax.random.split(key, number)
    return [
        jax.random.bernoulli(one, share, (samples,)) if share else None for one, share in zip(keys, shares, strict=True)
    ]


def _with_null(drop: jax.Array, condition: Condition, null: Condition) -> Condition:
    """The condition, with the null in place of that of the samples to drop (b,)."""

    def one(value: jax.Array, null: Scalar) -> jax.Array:
        null = jnp.asarray(null, value.dtype)
        where = drop.reshape(drop.shape + (1,) * (value.ndim - 1))
        try:
            return jnp.where(where, jnp.broadcast_to(null, value.shape), value)
        except ValueError:
            raise ValueError(
                f"a null of shape {null.shape} cannot stand for a condition of shape {value.shape}"
            ) from None

    condition = conditions.for_each(condition, len(drop))
    return jax.tree.map(one, condition, conditions.in_place_of(condition, null))
