"""Reflow: a flow is trained again on its own pairs of noise and sample. It becomes straighter, and needs fewer steps.

Also known as: rectified flow, its second and later rounds.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from gendiff.core import arrays, checks, records, sample_keys
from gendiff.core.types import ArrayLike, Condition, Metrics, Params
from gendiff.diffusion import objectives, process, sampling, weighting
from gendiff.diffusion import parameterization as parameterizations
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Predict, Prediction


@records.record
class Pairs:
    """Samples with the noise from which they were drawn: the batch of `reflow`.

    Args:
        noise: (b, …) standard normal.
        clean: (b, …) what the teacher made of it.
        condition: a tuple of conditions, possibly empty; each is a pytree of arrays (b, …).
    """

    noise: ArrayLike
    clean: ArrayLike
    condition: Condition = ()


@records.record
class ReflowLoss(objectives.NetworkLoss):
    """The loss of `reflow`."""

    schedule: Schedule = records.static()
    levels: weighting.LevelSampler = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Pairs) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        if not isinstance(batch, Pairs):
            raise TypeError(f"batch is a {type(batch).__name__}: pass distillation.Pairs(noise, clean, condition)")
        for name, value in (("noise", batch.noise), ("clean", batch.clean)):
            checks.floating(f"batch.{name}", value)
        condition = batch.condition if isinstance(batch.condition, tuple) else (batch.condition,)
        level_key, network_key = jax.random.split(key)
        level = self.levels(level_key, self.schedule, batch.clean.shape[0])
        target = Prediction(jnp.asarray(batch.clean), jnp.asarray(batch.noise))
        return self.error(
            params, network_key, process.add_noise(target.clean, target.noise, level), level, condition, target
        )


def reflow(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization | None = None,
    *,
    weight: weighting.Weight | None = None,
    levels: weighting.LevelSampler | None = None,
    stochastic: bool | None = None,
) -> ReflowLoss:
    """The denoising loss with each sample's own noise, of which the teacher drew it, in place of fresh noise.

    Also known as: rectified flow (2-rectified flow).

    The loss is the mean of weight(level) · mean squared error of the target. Pairs are drawn by `draw_pairs`. Paths
    from noise to sample of the trained flow cross less than those of its teacher, and are straighter, as `straightness`
    measures.

    Args:
        predict: the network, (params, x, t, *condition) -> output. It may begin as the teacher.
        schedule: the noise path, meant for one that ends at alpha = 0, such as `schedules.flow()`.
        parameterization: what the network's output means; default `parameterization.flow()`.
        weight: the factor on each sample's error; default `weighting.uniform()`.
        levels: how levels are drawn; default `weighting.uniform_levels()`.
        stochastic: as in `objectives.denoising`.

    Returns:
        The loss (params, key, pairs) -> (scalar, metrics), with the unweighted error as metric `mse`.

    Raises:
        ValueError: for noise prediction on a schedule that reaches alpha = 0.
        TypeError: when called, for a batch that is not `Pairs` of floating arrays.

    References:
        Liu et al., 2023, Eq. 1 and Alg. 1 (from memory).
    """
    parameterization = parameterization or parameterizations.flow()
    objectives.refuse_lost_signal(parameterization, schedule)
    return ReflowLoss(*objectives.path_fields(predict, schedule, parameterization, weight, levels, stochastic))


def draw_pairs(
    key: jax.Array,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    shape: tuple[int, ...],
    index: Integer[ArrayLike, "b"],
    condition: tuple[Condition, ...] = (),
) -> Pairs:
    """Draw samples with the noise that they come from.

    Call it under `jit`. Pair i is a function of (denoiser, key, index[i]) alone.

    Args:
        key: one typed key.
        denoise: the teacher, told the conditions.
        sampler: one that draws no noise of its own, such as `samplers.ddim()` or `samplers.heun()`.
        levels: the grid (t + 1,), from noise to clean.
        shape: of one sample.
        index: (b,) integers 0 … 2**32 - 1 that name the pairs.
        condition: what the teacher was told, aligned with `index`; it is kept beside the pairs.

    Returns:
        The pairs; `clean` is bit for bit what `diffusion.sample` draws.

    Raises:
        TypeError and ValueError: as `diffusion.sample` does.

    References:
        Liu et al., 2023, Alg. 1 (from memory).
    """
    clean = sampling.sample(key, denoise, sampler, levels, shape, index)
    noise = sample_keys.first_noise(sample_keys.keys_of(key, index), shape, clean.dtype)
    return Pairs(noise, clean, condition)


def straightness(trajectory: Float[ArrayLike, "t b *shape"], levels: Level) -> Float[Array, "b"]:
    """The mean over the path of |mean velocity - velocity|², summed over each sample: 0 for a straight path.

    Every process runs along the straight path w = x / (alpha + sigma) = (1 - u) clean + u noise with
    u = sigma / (alpha + sigma). There DDIM is Euler's method, so that of its trajectory this is exact; of an exact
    trajectory it is at most that of the flow, and converges to it at second order in the steps.

    Args:
        trajectory: (t, b, …) states at each level, as `diffusion.sample(..., trajectory=True)` returns them.
        levels: the grid (t,) that it was drawn on. Levels that are repeated count nothing.

    Returns:
        (b,), the paper's S before its mean over samples, where the grid runs from alpha = 0 to sigma = 0.

    Raises:
        ValueError: for a trajectory that is not as long as the grid.
        TypeError: for what is no grid.

    References:
        Liu et al., 2023, section 2.2, S(Z) (from memory).
    """
    sampling.steps_of(levels)
    if trajectory.shape[0] != len(levels):
        raise ValueError(
            f"trajectory has {trajectory.shape[0]} states for a grid of {len(levels)} levels: one state per level is "
            "needed"
        )
    states = jnp.asarray(trajectory)
    length = jnp.asarray(levels.alpha) + levels.sigma
    u, w = levels.sigma / length, states / arrays.expand(length, states)
    spans = u[:-1] - u[1:]
    velocity = arrays.safe_divide(w[:-1] - w[1:], arrays.expand(spans, w[1:]))
    mean = (w[0] - w[-1]) / (u[0] - u[-1])
    deviation = jnp.sum(jnp.square(velocity - mean[None]).reshape(*w[1:].shape[:2], -1), axis=2)
    straight: Array = jnp.sum(arrays.expand(spans, deviation) * deviation, axis=0) / (u[0] - u[-1])
    return straight
