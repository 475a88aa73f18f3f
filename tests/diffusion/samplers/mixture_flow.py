"""A one-dimensional mixture between two fixed levels: grids even in log-SNR, exact ends of its flow, errors and orders of a sampler."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import softmax

from gendiff.diffusion import grids, oracles, sampling
from gendiff.diffusion.types import Level

WEIGHTS, MEANS, STDS = np.array([0.3, 0.7]), np.array([-1.0, 1.2]), np.array([0.4, 0.6])
NOISY, CLEANER = 10.0, 0.1  # sigma / alpha
LONGEST = 512


def oracle():
    return oracles.mixture(WEIGHTS, MEANS[:, None], STDS)


def levels(steps):
    """`steps` intervals even in log-SNR with alpha² + sigma² = 1; t is the log-SNR."""
    log_snr = jnp.linspace(-2 * np.log(NOISY), -2 * np.log(CLEANER), steps + 1)
    return Level(t=log_snr, alpha=jnp.sqrt(jax.nn.sigmoid(log_snr)), sigma=jnp.sqrt(jax.nn.sigmoid(-log_snr)))


def _noise(x, log_ratio):
    """Of the exploding process: E[noise | x] at sigma / alpha = e^log_ratio, written out in NumPy."""
    ratio = np.exp(log_ratio)
    variance = STDS**2 + ratio**2
    offset = x[:, None] - MEANS
    share = softmax(np.log(WEIGHTS) - offset**2 / (2 * variance) - np.log(variance) / 2, axis=1)
    return np.sum(share * ratio / variance * offset, axis=1)


@functools.cache
def ends():
    """Start points (33, 1) within two standard deviations at the noisy level, and where the exact flow carries them."""
    spread = NOISY / np.sqrt(1 + NOISY**2)
    start = np.linspace(-2, 2, 33) * np.sqrt(1 + NOISY**2)
    found = solve_ivp(
        lambda s, x: np.exp(s) * _noise(x, s), (np.log(NOISY), np.log(CLEANER)), start, method="DOP853", rtol=3e-14, atol=1e-14
    )
    return (start * spread / NOISY)[:, None], (found.y[:, -1] / np.sqrt(1 + CLEANER**2))[:, None]


@jax.jit
def _run(sampler, grid, start, steps):
    key, index = jax.random.key(0), jnp.arange(len(start))
    return sampling.sample(key, oracle(), sampler, grid, (1,), index, start=start, num_steps=steps)


def error(sampler, steps):
    """Root mean square over the start points. One compile serves every number of steps up to 512."""
    start, exact = ends()
    found = _run(sampler, grids.padded(levels(steps), LONGEST), jnp.asarray(start), steps)
    return float(np.sqrt(np.mean((np.asarray(found) - exact) ** 2)))


def order(sampler, steps=(32, 64, 128, 256, 512)):
    """Slope of the least-squares line of -log error against log steps."""
    return -np.polyfit(np.log(steps), np.log([error(sampler, n) for n in steps]), 1)[0]
