"""PNDM: both starts written out, published end values of the peers' trajectory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers.pndm import pndm
from tests.diffusion.samplers import peer_trajectory

SCHEDULE = schedules.scaled_linear()
MIXTURE = oracles.mixture([0.3, 0.7], np.random.default_rng(1).normal(size=(2, 3)), [0.4, 0.6])
START = np.random.default_rng(0).normal(size=(2, 3))
MEANS = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]


@jax.jit
def run(sampler, grid, start):
    return sampling.sample(jax.random.key(0), MIXTURE, sampler, grid, (3,), jnp.arange(2), start=start, trajectory=True)


def noise(x, level):
    return np.asarray(MIXTURE(x, level).noise)


def phi(x, e, level, end):
    return end.alpha / level.alpha * x + (end.sigma - end.alpha * level.sigma / level.alpha) * e


def by_hand(indices, runge_kutta):
    """Liu et al., 2022, Alg. 1, on entries of the table; its start, or that of Stable Diffusion's PLMS."""
    levels = [SCHEDULE.table[i] for i in indices]
    x, seen, states = START, [], [START]
    for j, (level, end) in enumerate(zip(levels, levels[1:], strict=False)):
        e = noise(x, level)
        seen.insert(0, e)
        if runge_kutta and j < 3:
            middle = SCHEDULE.table[(indices[j] + indices[j + 1]) // 2]
            e2 = noise(phi(x, e, level, middle), middle)
            e3 = noise(phi(x, e2, level, middle), middle)
            e4 = noise(phi(x, e3, level, end), end)
            mean = (e + 2 * e2 + 2 * e3 + e4) / 6
        elif j == 0:
            mean = (e + noise(phi(x, e, level, end), end)) / 2
        else:
            mean = sum(w * past for w, past in zip(MEANS[min(j, 3)], seen, strict=False))
        x = phi(x, mean, level, end)
        states.append(x)
    return np.stack(states)


@pytest.mark.float64
@pytest.mark.parametrize("runge_kutta", [False, True], ids=["plms", "runge_kutta"])
def test_steps_are_the_published_algorithm(runge_kutta):
    indices = [901, 701, 501, 361, 201, 101, 1]
    grid = peer_trajectory.levels(indices, SCHEDULE)
    sampler = pndm(SCHEDULE if runge_kutta else None)
    np.testing.assert_allclose(run(sampler, grid, START), by_hand(indices, runge_kutta), rtol=1e-9, atol=1e-11)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("schedule", "total"), [(schedules.linear(), 198.1318), (schedules.linear(1000, 0.01, 0.02), 186.9482)], ids=["usual", "strong noise"]
)
def test_runge_kutta_start_reaches_the_published_sums(schedule, total):
    """Within 1e-2, as they are asserted there: they come from single precision."""
    found = peer_trajectory.end(pndm(schedule), peer_trajectory.leading(schedule))
    assert found.sum() == pytest.approx(total, abs=1e-2)


def test_a_vmapped_step_count_changes_nothing():
    grid, steps = grids.trailing(SCHEDULE, 3), jnp.array([3, 1, 2])

    def counted(steps):
        return sampling.sample(jax.random.key(0), MIXTURE, pndm(), grid, (3,), jnp.arange(2), start=START, num_steps=steps)

    together, states = jax.jit(jax.vmap(counted))(steps), run(pndm(), grid, START)
    np.testing.assert_allclose(together, states[steps], atol=5e-6)
