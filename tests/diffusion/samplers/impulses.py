"""The law of a stochastic sampler's end point on Gaussian data, without sampling: every step is linear in x and in its noise, so that a
unit start and unit noises give all coefficients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.diffusion import grids, oracles
from gendiff.diffusion.types import Level

STD, RATIO, LONGEST = 0.5, 5.0, 128


def levels(steps):
    """From sigma/alpha = 5 to 1/5, even in log-SNR."""
    log_snr = jnp.linspace(-2 * np.log(RATIO), 2 * np.log(RATIO), steps + 1)
    return Level(t=log_snr, alpha=jnp.sqrt(jax.nn.sigmoid(log_snr)), sigma=jnp.sqrt(jax.nn.sigmoid(-log_snr)))


@functools.partial(jax.jit, static_argnames="draws")
def _run(sampler, grid, steps, draws):
    """One compile for every number of steps up to LONGEST."""
    unit = jnp.eye(1 + draws * LONGEST)
    impulses = unit[1:].reshape(LONGEST, draws, len(unit), 1)

    def move(j, state):
        def noise(like, part=0):
            return impulses[j, max(part - 1, 0)]

        return sampler.step(noise, oracles.gaussian(STD), state, grid[j], grid[j + 1], steps - 1 - j)

    return jax.lax.fori_loop(0, steps, move, sampler.init(unit[0][:, None])).x


def measured(sampler, steps, draws=1):
    """The factor on the start, and the variance that the noise of all steps adds. draws: how many parts of noise a step draws."""
    ends = np.asarray(_run(sampler, grids.padded(levels(steps), LONGEST), steps, draws))[:, 0]
    return np.array([ends[0], np.sum(ends[1:] ** 2)])


def exact(eta):
    """The same of the reverse SDE with noise scale eta.

    With v² = alpha² s² + sigma², x/v is an Ornstein-Uhlenbeck process: between the ends it keeps the factor (alpha v' / (alpha' v))^(eta²),
    which for eta = 1 makes the pair of ends distributed as in the forward chain.
    """
    ends = levels(1)
    spread = np.sqrt(np.asarray(ends.alpha * STD) ** 2 + np.asarray(ends.sigma) ** 2)
    kept = (float(ends.alpha[0] / ends.alpha[1]) * spread[1] / spread[0]) ** (eta**2)
    return np.array([kept * spread[1] / spread[0], spread[1] ** 2 * (1 - kept**2)])


def weak_orders(sampler, eta, steps=(64, 128), draws=1):
    """log2 of how much the errors of the factor (…, 0) and of the variance (…, 1) fall when the steps double."""
    errors = np.array([np.abs(measured(sampler, n, draws) - exact(eta)) for n in steps])
    return np.log2(errors[:-1] / errors[1:])
