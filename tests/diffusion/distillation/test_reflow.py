"""A flow trained on its own pairs is straight: on Gaussian data everything is closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, distillation, grids, oracles, parameterization, samplers, sampling, schedules
from gendiff.diffusion.types import Batch
from tests.diffusion.flows import rand
from tests.quickly import quickly
from tests.refusals import refusals

FLOW, STD, SHAPE = schedules.flow(), 0.4, (2,)
TEACHER, KEY = oracles.gaussian(STD), jax.random.key(5)


@quickly
def pairs(index):
    return distillation.draw_pairs(KEY, TEACHER, samplers.ddim(), grids.trailing(FLOW, 8), SHAPE, index, (index % 3,))


def straight(gain, x, t):
    """The velocity noise - clean where clean = gain · noise: the way of each sample is a line."""
    u = (t / 1000).astype(x.dtype)[:, None]
    return (1 - gain) * x / ((1 - u) * gain + u)


@pytest.mark.float64
def test_the_flow_of_the_pairs_has_no_loss_is_straight_and_draws_them_in_one_step(float64):
    batch = pairs(jnp.arange(16))
    gain = batch.clean[0, 0] / batch.noise[0, 0]
    np.testing.assert_allclose(batch.clean, gain * batch.noise, rtol=1e-9)
    loss = distillation.reflow(lambda params, x, t, label: straight(params, x, t), FLOW)
    assert loss(gain, jax.random.key(0), batch)[0] < 1e-20 < 1e-4 < loss(gain + 0.1, jax.random.key(0), batch)[0]
    with_other_noise = distillation.Pairs(batch.noise[::-1], batch.clean, batch.condition)
    assert loss(gain, jax.random.key(0), with_other_noise)[0] > 0.1
    student = denoiser.from_network(straight, gain, parameterization.flow())

    def draw(denoise, steps):
        levels = grids.trailing(FLOW, steps)
        start = levels.sigma[0] * batch.noise
        return sampling.sample(KEY, denoise, samplers.ddim(), levels, SHAPE, jnp.arange(16), start=start, trajectory=True), levels

    trajectory, levels = draw(student, 1)
    np.testing.assert_allclose(trajectory[-1], batch.clean, rtol=1e-9)
    assert np.max(distillation.straightness(*draw(student, 6))) < 1e-20
    assert np.min(distillation.straightness(*draw(TEACHER, 6))) > 1e-6


@pytest.mark.float64
def test_straightness_of_a_gaussian_flow_converges_to_its_closed_form_at_second_order(float64):
    """s (2 - pi / 2) |noise|²: of w = g(u) noise with g² = (1 - u)² s² + u², the integral of (g' - (1 - s))² is that."""
    noise, errors = rand(0, 3, 2), []
    for steps in (64, 128):
        levels = FLOW.at(jnp.linspace(1.0, 0.0, steps + 1))
        trajectory = jax.vmap(lambda level: TEACHER.marginal_std(level) * noise)(levels)
        expected = STD * (2 - math.pi / 2) * jnp.sum(noise**2, axis=1)
        errors.append(np.abs(distillation.straightness(trajectory, levels) / expected - 1).max())
    assert errors[1] < 1e-3 and 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.float64
def test_straightness_does_not_depend_on_the_process_and_repeated_levels_count_nothing(float64):
    """The ways of two processes differ by a scale of x and by a time that the straight path does not know."""
    schedule, noise = schedules.edm(), rand(0, 3, 2)
    levels = schedule.at(jnp.linspace(1.0, 0.0, 65))
    length = levels.alpha + levels.sigma
    straight_path = jax.tree.map(lambda field: field / length, levels)
    states = jax.vmap(lambda level: TEACHER.marginal_std(level) * noise)(levels)
    value = distillation.straightness(states, levels)
    np.testing.assert_allclose(value, distillation.straightness(states / length[:, None, None], straight_path), rtol=1e-12)
    longer = jnp.concatenate([states, states[-1:], states[-1:]])
    np.testing.assert_allclose(distillation.straightness(longer, grids.padded(levels, 66)), value, rtol=1e-12)


def test_a_pair_is_a_function_of_its_index_and_its_noise_is_where_its_sample_began():
    whole, some = pairs(jnp.arange(6)), pairs(jnp.array([4, 1]))
    np.testing.assert_array_equal(some.noise, whole.noise[jnp.array([4, 1])])
    np.testing.assert_allclose(some.clean, whole.clean[jnp.array([4, 1])], rtol=1e-6)
    np.testing.assert_array_equal(some.condition[0], [1, 1])
    levels = grids.trailing(FLOW, 8)
    draw = quickly(lambda **how: sampling.sample(KEY, TEACHER, samplers.ddim(), levels, SHAPE, jnp.arange(6), **how))
    np.testing.assert_array_equal(draw(), whole.clean)
    np.testing.assert_allclose(draw(start=levels.sigma[0] * whole.noise), whole.clean, rtol=1e-6)


GRID = grids.trailing(FLOW, 2)


def call(batch):
    return lambda: distillation.reflow(lambda params, x, t: x, FLOW)((), jax.random.key(0), batch)


test_what_is_no_pair_or_no_trajectory_is_refused = refusals(
    (call(Batch(jnp.ones((2, 3)))), "pass distillation.Pairs", TypeError),
    (call(distillation.Pairs(jnp.ones((2, 3), int), jnp.ones((2, 3)))), "batch.noise must be a floating array", TypeError),
    (call(distillation.Pairs(jnp.ones((2, 2)), jnp.ones((2, 3)))), "noise has shape"),
    (lambda: distillation.reflow(straight, FLOW, parameterization.noise()), "noise prediction divides by alpha"),
    (lambda: distillation.straightness(jnp.ones((2, 4, 3)), GRID), "trajectory has 2 states for a grid of 3 levels"),
    (lambda: distillation.straightness(jnp.ones((1, 4, 3)), GRID[:1]), "at least 2 entries"),
)
