"""Heun's method after a step back towards noise. Ratios sigma/alpha play the part that sigma has where alpha = 1."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Scalar
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level

MOST = math.sqrt(2) - 1
"""The largest gamma: a step back at most doubles the variance of the noise (Karras et al., 2022, Alg. 2)."""


def churned(
    x: Float[Array, "b *shape"],
    level: Level,
    gamma: Scalar,
    schedule: Schedule,
    *,
    noise: Float[ArrayLike, "..."],
    churn_noise: Scalar,
) -> tuple[Float[Array, "b *shape"], Level]:
    """The sample x and its level after noise raised sigma/alpha by 1 + gamma (Karras et al., 2022, Alg. 2, lines 4-6).

    gamma: of the level's shape, >= 0; where it is 0, x and level come back bit for bit. It must be 0 at alpha = 0 and
        at sigma = 0.
    noise: standard normal (b, …), multiplied by `churn_noise` beyond what the level asks for.
    """
    gamma = jnp.asarray(gamma)
    moves = gamma > 0
    alpha, sigma = (jnp.where(moves, field, 1) for field in (jnp.asarray(level.alpha), jnp.asarray(level.sigma)))
    raised = schedule.at_log_snr(2 * (jnp.log(alpha / sigma) - jnp.log1p(gamma)))
    noisier = jax.tree.map(
        lambda there, here: jnp.where(moves, there, here).astype(jnp.asarray(here).dtype), raised, level
    )
    # its square is sigma² - (alpha/alpha_before sigma_before)²
    added = noisier.sigma * arrays.safe_sqrt(gamma * (2 + gamma)) / (1 + gamma)
    grown = (
        arrays.expand(noisier.alpha / alpha, x) * x + arrays.expand(churn_noise, x) * arrays.expand(added, x) * noise
    )
    return jnp.where(arrays.expand(moves, x) > 0, grown, x), noisier


@records.record
class Churn(Sampler):
    """Heun's method after a step back towards noise. Built by `churn`."""

    schedule: Schedule
    churn: Scalar
    churn_min: Scalar
    churn_max: Scalar
    churn_noise: Scalar

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """The memory is the number of steps, which the first step reads off `left`."""
        return State(x, jnp.zeros((), jnp.int32))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        steps = jnp.where(state.memory > 0, state.memory, jnp.asarray(left + 1).astype(jnp.int32))
        x = state.x
        if not ancestral.is_zero(self.churn):
            gamma = self._gamma(level, steps, x)
            added = noise(x)
            here = jax.tree.map(jnp.asarray, level)

            def back() -> tuple[Array, Level]:
                return churned(x, here, gamma, self.schedule, noise=added, churn_noise=self.churn_noise)

            x, level = jax.lax.cond(jnp.any(gamma > 0), back, lambda: (x, here))
        return State(runge_kutta.heun_step(denoise, x, level, cleaner), steps)

    def evaluations(self, steps: int) -> int:
        """Two per step, one in the last, which ends clean."""
        return 2 * steps - 1

    def _gamma(self, level: Level, steps: Array, like: Array) -> Array:
        """min(churn / steps, sqrt(2) - 1) where the level lies in the range and neither alpha nor sigma is 0."""
        alpha, sigma = (
            jnp.asarray(field).astype(arrays.at_least_float32(like.dtype)) for field in (level.alpha, level.sigma)
        )
        amount, low, high = (jnp.asarray(value, alpha.dtype) for value in (self.churn, self.churn_min, self.churn_max))
        inside = (alpha > 0) & (sigma > 0) & (sigma >= low * alpha) & (sigma <= high * alpha)
        gamma = jnp.minimum(amount / steps.astype(alpha.dtype), MOST)
        return jnp.where(inside, gamma, jnp.zeros_like(gamma))


def churn(
    schedule: Schedule,
    churn: Scalar = 40.0,
    *,
    churn_min: Scalar = 0.0,
    churn_max: Scalar = math.inf,
    churn_noise: Scalar = 1.0,
) -> Churn:
    """Heun's method after a step back towards noise, for any process. Churn 0 is `heun`, bit for bit.

    Also known as: EDM's stochastic sampler (Karras et al., S_churn).

    A step first raises sigma/alpha by a factor 1 + min(churn / n, sqrt(2) - 1), n the number of steps, where
    sigma/alpha lies between churn_min and churn_max and alpha > 0. All numbers are () >= 0, data under jit. The noise
    of a step grows like sqrt(churn), so that its derivative at churn = 0 is infinite; 0 is reported there. Evaluations
    as for `heun`: 2n - 1 on a grid that ends clean.

    Args:
        schedule: of the process, for the noisier level; it may lie beyond the schedule's noisy end, where t stays.
        churn: S_churn of the algorithm, the amount over all steps.
        churn_min: S_tmin, the smallest sigma/alpha that is raised.
        churn_max: S_tmax, the largest sigma/alpha that is raised.
        churn_noise: S_noise, multiplies the noise that is added.

    Raises:
        ValueError: for a concrete number that is negative, or an infinite churn.

    References:
        Karras et al., 2022, Alg. 2.
    """
    for name, value in (
        ("churn", churn),
        ("churn_min", churn_min),
        ("churn_max", churn_max),
        ("churn_noise", churn_noise),
    ):
        checks.in_range(name, value, 0.0, math.inf)
    checks.finite("churn", churn)
    return Churn(schedule, churn, churn_min, churn_max, churn_noise)
