"""A sampler of your own: Heun's method in a few lines, and the order of its error against an exact oracle.

    python experiments/examples/own_sampler.py

takes a few seconds and prints orders near 1 for DDIM and near 2 for Heun. A sampler is a
record with a `step`; with it, it runs in the library's loop, with its noise, padding and traced step counts.
"""

import math

import jax
import jax.numpy as jnp

from gendiff import diffusion
from gendiff.core.records import record
from gendiff.core.types import Count
from gendiff.diffusion import Denoiser, Level
from gendiff.diffusion.sampling import Noise, Sampler, State


@record
class Heun(Sampler):
    """Second order, two evaluations per step.

    Euler's step, then the slope at its end averaged with the slope at its start (Karras et al., 2022, Alg. 1).

    The correction is written in the noise prediction where alpha >= sigma and in the clean prediction elsewhere: each
    is finite there. The step to sigma = 0 stays first-order: it returns the denoised prediction.
    """

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        first = denoise(state.x, level)
        ddim = cleaner.alpha * first.clean + cleaner.sigma * first.noise
        second = denoise(ddim, cleaner)
        by_noise = (cleaner.sigma - cleaner.alpha * level.sigma / level.alpha) / 2 * (second.noise - first.noise)
        by_clean = (cleaner.alpha - cleaner.sigma * level.alpha / level.sigma) / 2 * (second.clean - first.clean)
        correction = jnp.where(level.alpha >= level.sigma, by_noise, by_clean)
        return State(ddim + jnp.where(cleaner.sigma > 0, correction, 0.0))

    def evaluations(self, steps: int) -> int:
        return 2 * steps


def order(sampler: Sampler, steps: int) -> float:
    """log2 of how much the error falls when the steps double."""
    exact = diffusion.oracles.gaussian(std=0.5)  # a Gaussian's probability flow has a closed form
    return math.log2(exact.endpoint_error(sampler, steps) / exact.endpoint_error(sampler, 2 * steps))


def main() -> None:
    print(f"order of ddim: {order(diffusion.samplers.ddim(), 20):.2f}")
    print(f"order of heun: {order(Heun(), 20):.2f}")

    denoise = diffusion.oracles.mixture(weights=[0.5, 0.5], means=[[-1.0], [1.0]], stds=[0.2, 0.2])
    levels = diffusion.grids.trailing(diffusion.schedules.flow(), 20)
    samples = diffusion.sampling.sample(jax.random.key(0), denoise, Heun(), levels, shape=(1,), index=jnp.arange(1000))
    print(f"share of samples near -1: {(samples < 0).mean():.2f}; mean distance from 0: {jnp.abs(samples).mean():.2f}")


if __name__ == "__main__":
    main()
