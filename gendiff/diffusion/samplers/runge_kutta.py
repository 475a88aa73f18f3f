"""Runge-Kutta methods for the probability flow. Each step uses the form that stays finite and accurate on its side of alpha = sigma:
d(x/alpha) = noise d(sigma/alpha) where alpha >= sigma, d(x/sigma) = clean d(alpha/sigma) elsewhere.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, trees
from gendiff.core.types import ArrayLike, Count, Denoiser, Keys, Level, Prediction
from gendiff.diffusion import sampling
from gendiff.diffusion.sampling import Sampler, State


def euler_step(x: Float[ArrayLike, "b *shape"], prediction: Prediction, level: Level, cleaner: Level) -> Float[Array, "b *shape"]:
    """x alpha'/alpha + (sigma' - alpha' sigma/alpha) noise, or x sigma'/sigma + (alpha' - sigma' alpha/sigma) clean where alpha < sigma.

    Euler's step on dx/d(sigma/alpha) = noise in x/alpha (Karras et al., 2022, Eq. 4). Equal to DDIM with eta = 0 wherever
    x = alpha * clean + sigma * noise holds.
    """
    alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
    to_alpha, to_sigma = arrays.expand(cleaner.alpha, x), arrays.expand(cleaner.sigma, x)
    cleaner_half = alpha >= sigma
    grow, shrink = arrays.safe_divide(to_alpha, alpha), arrays.safe_divide(to_sigma, sigma)
    by_noise = grow * x + (to_sigma - grow * sigma) * prediction.noise
    by_clean = shrink * x + (to_alpha - shrink * alpha) * prediction.clean
    return jnp.where(cleaner_half, by_noise, by_clean)


@trees.record
class _Euler:
    def __call__(self, keys: Keys, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        return State(euler_step(state.x, denoise(state.x, level), level, cleaner))


def euler() -> Sampler:
    """Euler's method on the probability flow: order 1, one evaluation a step."""
    return Sampler(sampling.start, _Euler())
