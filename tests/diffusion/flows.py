"""Rig for what follows the probability flow: a schedule of every kind, exact and trained denoisers, short grids, orders
of convergence.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, grids, oracles, parameterization, schedules
from gendiff.diffusion.types import Level

CLEAN = Level(0.0, 1.0, 0.0)
MEANS = np.array([[-1.0, 0.5, 0.0], [1.5, 0.0, -0.5]])
SCHEDULES = {
    "linear": schedules.linear(),
    "cosine": schedules.cosine(),
    "no signal": schedules.zero_terminal_snr(schedules.scaled_linear()),
    "exploding": schedules.edm(),
    "straight": schedules.flow(),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def rand(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def mixture(std=0.8):
    return oracles.mixture([0.3, 0.7], MEANS, [0.4, std])


def flow(steps):
    return grids.trailing(schedules.flow(), steps)


def trained(gain, kind=None):
    """A smooth network, told the time."""
    return denoiser.from_network(
        lambda gain, x, t: jnp.tanh(gain * x) + 1e-3 * t.astype(x.dtype)[:, None],
        gain,
        kind or parameterization.velocity(),
    )


def short(schedule):
    """Grids of one, two and three intervals, and each of the three alone, all of one length."""
    three = grids.trailing(schedule, 3)
    cut = (grids.trailing(schedule, 1), grids.trailing(schedule, 2), three[:2], three[1:3], three[2:], three)
    return [grids.padded(levels, 3) for levels in cut]


def finite(tree):
    return all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree))


def orders(errors):
    """Of errors at numbers of steps that double."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
