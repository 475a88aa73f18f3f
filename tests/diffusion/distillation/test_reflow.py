"""A flow trained on its own pairs is straight: on Gaussian data everything is closed form."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, distillation, grids, oracles, parameterization, samplers, sampling, schedules
from gendiff.diffusion.types import Batch
from tests.diffusion.flows import rand
from tests.quickly import in_numpy
from tests.refusals import refusals

FLOW, STD, SHAPE = schedules.flow(), 0.4, (2,)
TEACHER, KEY = oracles.gaussian(STD), jax.random.key(5)


@in_numpy
def pairs(index):
    return distillation.draw_pairs(KEY, TEACHER, samplers.ddim(), grids.trailing(FLOW, 8), SHAPE, index, (index % 3,))


def straight(gain, x, t):
    """The velocity noise - clean where clean = gain · noise: the way of each sample is a line."""
    u = (t / 1000).astype(x.dtype)[:, None]
    return (1 - gain) * x / ((1 - u) * gain + u)


@pytest.mark.float64
def test_the_flow_of_the_pairs_has_no_loss_is_straight_and_draws_them_in_one_step(float64):
    loss = distillation.reflow(lambda params, x, t, label: straight(params, x, t), FLOW)

    def draw(denoise, noise, steps):
        levels = grids.trailing(FLOW, steps)
        return sampling.sample(
            KEY, denoise, samplers.ddim(), levels, SHAPE, jnp.arange(16), start=noise, trajectory=True
        ), levels

    @in_numpy
    def run(batch):
        gain = batch.clean[0, 0] / batch.noise[0, 0]
        others = (gain + 0.1, batch), (gain, distillation.Pairs(batch.noise[::-1], batch.clean, batch.condition))
        student = denoiser.from_network(straight, gain, parameterization.flow())
        ways = [distillation.straightness(*draw(denoise, batch.noise, 6)) for denoise in (student, TEACHER)]
        values = [loss(params, jax.random.key(0), data)[0] for params, data in ((gain, batch), *others)]
        return gain, values, ways, draw(student, batch.noise, 1)[0][-1]

    batch = pairs(jnp.arange(16))
    gain, (value, *others), (by_student, by_teacher), in_one = run(batch)
    np.testing.assert_allclose(batch.clean, gain * batch.noise, rtol=1e-9)
    assert value < 1e-20 and all(other > 1e-4 for other in others)
    np.testing.assert_allclose(in_one, batch.clean, rtol=1e-9)
    assert np.max(by_student) < 1e-20 < 1e-6 < np.min(by_teacher)


@pytest.mark.float64
def test_straightness_of_a_gaussian_flow_converges_to_its_closed_form_at_second_order(float64):
    """s (2 - pi / 2) |noise|²: of w = g(u) noise with g² = (1 - u)² s² + u², the integral of (g' - (1 - s))² is
    that.
    """
    noise = rand(0, 3, 2)

    def error(steps):
        levels = FLOW.at(jnp.linspace(1.0, 0.0, steps + 1))
        states = TEACHER.marginal_std(levels)[:, None, None] * noise[None]
        return jnp.max(
            jnp.abs(
                distillation.straightness(states, levels) / (STD * (2 - math.pi / 2) * jnp.sum(noise**2, axis=1)) - 1
            )
        )

    coarse, fine = in_numpy(lambda: (error(64), error(128)))()
    assert fine < 1e-3 and 3.5 < coarse / fine < 4.5


@pytest.mark.float64
def test_straightness_does_not_depend_on_the_process_and_repeated_levels_count_nothing(float64):
    """The ways of two processes differ by a scale of x and by a time that the straight path does not know."""

    @in_numpy
    def values(noise):
        levels = schedules.edm().at(jnp.linspace(1.0, 0.0, 65))
        length = levels.alpha + levels.sigma
        states = TEACHER.marginal_std(levels)[:, None, None] * noise[None]
        longer = jnp.concatenate([states, states[-1:], states[-1:]]), grids.padded(levels, 66)
        straight_path = states / length[:, None, None], jax.tree.map(lambda field: field / length, levels)
        return [distillation.straightness(*way) for way in ((states, levels), longer, straight_path)]

    value, *others = values(rand(0, 3, 2))
    for other in others:
        np.testing.assert_allclose(other, value, rtol=1e-12)


def test_a_pair_is_a_function_of_its_index_and_its_noise_is_where_its_sample_began():
    other = jnp.array([4, 1, 9, 0, 7, 5])
    full, some = (jax.tree.map(np.asarray, pairs(index)) for index in (jnp.arange(6), other))
    np.testing.assert_array_equal(some.noise[[0, 1, 3, 5]], full.noise[[4, 1, 0, 5]])
    np.testing.assert_allclose(some.clean[[0, 1, 3, 5]], full.clean[[4, 1, 0, 5]], rtol=1e-6)
    np.testing.assert_array_equal(some.condition[0], other % 3)
    levels = grids.trailing(FLOW, 8)

    @in_numpy
    def draw(noise):
        draw = functools.partial(sampling.sample, KEY, TEACHER, samplers.ddim(), levels, SHAPE, jnp.arange(6))
        return draw(), draw(start=levels.sigma[0] * noise)

    by_key, by_noise = draw(full.noise)
    np.testing.assert_array_equal(by_key, full.clean)
    np.testing.assert_allclose(by_noise, full.clean, rtol=1e-6)


GRID = grids.trailing(FLOW, 2)


def call(batch):
    return lambda: jax.eval_shape(distillation.reflow(lambda params, x, t: x, FLOW), (), jax.random.key(0), batch)


test_what_is_no_pair_or_no_trajectory_is_refused = refusals(
    (call(Batch(jnp.ones((2, 3)))), "pass distillation.Pairs", TypeError),
    (
        call(distillation.Pairs(jnp.ones((2, 3), int), jnp.ones((2, 3)))),
        "batch.noise must be a floating array",
        TypeError,
    ),
    (call(distillation.Pairs(jnp.ones((2, 2)), jnp.ones((2, 3)))), "noise has shape"),
    (lambda: distillation.reflow(straight, FLOW, parameterization.noise()), "noise prediction divides by alpha"),
    (lambda: distillation.straightness(jnp.ones((2, 4, 3)), GRID), "trajectory has 2 states for a grid of 3 levels"),
    (lambda: distillation.straightness(jnp.ones((1, 4, 3)), GRID[:1]), "at least 2 entries"),
)
