"""Runge-Kutta methods for the probability flow.

Each step uses the form that stays finite and accurate on its side of alpha = sigma:
d(x/alpha) = noise d(sigma/alpha) where alpha >= sigma, d(x/sigma) = clean d(alpha/sigma) elsewhere. Both are exact for
a point mass.

A step to sigma' = 0 is DDIM with one evaluation and returns the denoised prediction: nothing can be asked of a network
there.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.core.types import ArrayLike, Count
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction


def euler_step(
    x: Float[ArrayLike, "b *shape"], prediction: Prediction, level: Level, cleaner: Level
) -> Float[Array, "b *shape"]:
    """Euler's step on dx/d(sigma/alpha) = noise in x/alpha, the probability-flow ODE.

    It is x alpha'/alpha + (sigma' - alpha' sigma/alpha) noise, or x sigma'/sigma + (alpha' - sigma' alpha/sigma) clean
    where alpha < sigma. Equal to DDIM with eta = 0 wherever
    x = alpha * clean + sigma * noise holds.

    Args:
        x: (b, …) at `level`.
        prediction: of the denoiser at x.
        level: where the step begins, () or (b,).
        cleaner: where it ends.

    References:
        Karras et al., 2022, Eq. 4.
    """
    alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
    to_alpha, to_sigma = arrays.expand(cleaner.alpha, x), arrays.expand(cleaner.sigma, x)
    cleaner_half = alpha >= sigma
    grow, shrink = arrays.safe_divide(to_alpha, alpha), arrays.safe_divide(to_sigma, sigma)
    by_noise = grow * x + (to_sigma - grow * sigma) * prediction.noise
    by_clean = shrink * x + (to_alpha - shrink * alpha) * prediction.clean
    return jnp.where(cleaner_half, by_noise, by_clean)


def heun_correction(first: Prediction, second: Prediction, level: Level, cleaner: Level) -> Float[Array, "b *shape"]:
    """The trapezoid's correction of a DDIM step, by predictions at both ends (Karras et al., 2022, Alg. 1, lines 6-8).

    (sigma' - alpha' sigma/alpha) / 2 · change of noise where alpha >= sigma, (alpha' - sigma' alpha/sigma) / 2 · change
    of clean elsewhere. The usual form in x/alpha alone is NaN at alpha = 0 and inaccurate near it.
    """
    clean = first.clean
    alpha, sigma = arrays.expand(level.alpha, clean), arrays.expand(level.sigma, clean)
    to_alpha, to_sigma = arrays.expand(cleaner.alpha, clean), arrays.expand(cleaner.sigma, clean)
    by_noise = (to_sigma - arrays.safe_divide(to_alpha, alpha) * sigma) / 2 * (second.noise - first.noise)
    by_clean = (to_alpha - arrays.safe_divide(to_sigma, sigma) * alpha) / 2 * (second.clean - first.clean)
    return jnp.where(alpha >= sigma, by_noise, by_clean)


def heun_step(denoise: Denoiser, x: Float[Array, "b *shape"], level: Level, cleaner: Level) -> Float[Array, "b *shape"]:
    """Heun's step from x at a level to a cleaner one: two evaluations, one where sigma' = 0."""
    prediction = denoise(x, level)
    moved = ancestral.ddim_step(prediction, level, cleaner)
    return _unless_clean(
        cleaner, moved, lambda end: moved + heun_correction(prediction, denoise(moved, end), level, cleaner), level
    )


def rk4_step(
    denoise: Denoiser, x: Float[Array, "b *shape"], level: Level, cleaner: Level, schedule: Schedule
) -> Float[Array, "b *shape"]:
    """The classical Runge-Kutta step (Kutta, 1901): four evaluations, two of them half-way; one where sigma' = 0.

    Half-way is the mean of sigma/alpha where alpha >= sigma, of alpha/sigma elsewhere.
    """
    prediction = denoise(x, level)

    def better(end: Level) -> Array:
        by_noise = _alpha_sigma(level, x)[0] >= _alpha_sigma(level, x)[1]
        first, last = _time(level, by_noise, x), _time(end, by_noise, x)
        middle = _at_time((first + last) / 2, by_noise, schedule)
        y, h = x / _unit(level, by_noise, x), arrays.expand(last - first, x)

        def slope(y: Array, at: Level) -> Array:
            return _slope(denoise(_unit(at, by_noise, x) * y, at), by_noise)

        k1 = _slope(prediction, by_noise)
        k2 = slope(y + h / 2 * k1, middle)
        k3 = slope(y + h / 2 * k2, middle)
        k4 = slope(y + h * k3, end)
        return _unit(end, by_noise, x) * (y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))

    return _unless_clean(cleaner, ancestral.ddim_step(prediction, level, cleaner), better, level)


@records.record
class Euler(Sampler):
    """Euler's method on the probability flow. Built by `euler`."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        return State(euler_step(state.x, denoise(state.x, level), level, cleaner))


def euler() -> Euler:
    """Euler's method on the probability flow: order 1, one evaluation per step."""
    return Euler()


@records.record
class Heun(Sampler):
    """Heun's method on the probability flow. Built by `heun`."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        return State(heun_step(denoise, state.x, level, cleaner))

    def evaluations(self, steps: int) -> int:
        """Two per step, one in the last, which ends clean."""
        return 2 * steps - 1


def heun() -> Heun:
    """Heun's method on the probability flow: order 2.

    Also known as: EDM's deterministic sampler; Heun on the probability-flow ODE.

    n steps cost 2n - 1 evaluations on a grid that ends clean, also when the count is traced, and 2n on one whose last
    level has sigma > 0: the end of the grid decides, not the end of the count. Under a vmapped count, or vmapped
    levels, the evaluation that a step to sigma' = 0 needs no answer of is made all the same, so that n steps cost 2n.

    References:
        Karras et al., 2022, Alg. 1.
    """
    return Heun()


@records.record
class Rk4(Sampler):
    """The classical Runge-Kutta method on the probability flow. Built by `rk4`."""

    schedule: Schedule

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        return State(rk4_step(denoise, state.x, level, cleaner, self.schedule))

    def evaluations(self, steps: int) -> int:
        """Four per step, one in the last, which ends clean."""
        return 4 * steps - 3


def rk4(schedule: Schedule) -> Rk4:
    """The classical Runge-Kutta method on the probability flow: order 4.

    n steps cost 4n - 3 evaluations on a grid that ends clean and 4n on one whose last level has sigma > 0; under a
    vmapped count or vmapped levels always 4n. It starts at alpha = 0 like anywhere else.

    Args:
        schedule: of the process, for the level half-way.

    References:
        Kutta, 1901 (from memory).
    """
    return Rk4(schedule)


def _unless_clean(cleaner: Level, moved: Array, better: Callable[[Level], Array], level: Level) -> Array:
    """`moved` for samples whose step ends at sigma' = 0, for others `better(cleaner)`, which runs only if needed.

    Where the branch cannot be skipped, under vmap, it runs with the start of the step in place of a clean end, and
    stays finite.
    """
    noisy = jnp.asarray(cleaner.sigma) > 0

    def chosen() -> Array:
        end = jax.tree.map(lambda there, here: jnp.where(noisy, there, here), cleaner, level)
        return jnp.where(arrays.expand(noisy, moved) > 0, better(end), moved)

    end: Array = jax.lax.cond(jnp.any(noisy), chosen, lambda: moved)
    return end


# The two forms: y = x / unit moves by `slope` times the change of `time`, with unit alpha, slope noise and time
# sigma/alpha, or with unit sigma, slope clean and time alpha/sigma.


def _alpha_sigma(level: Level, like: Array) -> tuple[Array, Array]:
    """At least in float32: levels are no place for half precision."""
    dtype = arrays.at_least_float32(like.dtype)
    return jnp.asarray(level.alpha).astype(dtype), jnp.asarray(level.sigma).astype(dtype)


def _time(level: Level, by_noise: Array, like: Array) -> Array:
    alpha, sigma = _alpha_sigma(level, like)
    return arrays.safe_divide(jnp.where(by_noise, sigma, alpha), jnp.where(by_noise, alpha, sigma))


def _at_time(time: Array, by_noise: Array, schedule: Schedule) -> Level:
    log_ratio = 2 * jnp.log(jnp.where(time > 0, time, 1))
    return schedule.at_log_snr(jnp.where(by_noise, -log_ratio, log_ratio))


def _unit(level: Level, by_noise: Array, like: Array) -> Array:
    alpha, sigma = _alpha_sigma(level, like)
    return arrays.expand(jnp.where(by_noise, alpha, jnp.where(sigma > 0, sigma, 1)), like)


def _slope(prediction: Prediction, by_noise: Array) -> Array:
    return jnp.where(arrays.expand(by_noise, prediction.clean) > 0, prediction.noise, prediction.clean)
