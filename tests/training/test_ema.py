import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import training
from gendiff.core.errors import ConfigError
from gendiff.training import ema
from tests.training import linear


def follow(average, params, decay, steps, warm_up=False):
    def one(average, count):
        return ema.update(average, params, decay, count=count if warm_up else None), None

    return jax.lax.scan(one, average, jnp.arange(steps))[0]


def test_average_of_constant_params_has_its_closed_form():
    start, target, decay, steps = jnp.array([2.0, -1.0]), jnp.array([1.0, 3.0]), 0.99, 200
    expected = target + (start - target) * decay**steps
    np.testing.assert_allclose(follow(ema.start(start), target, decay, steps), expected, rtol=1e-5)


@pytest.mark.float64
def test_average_is_the_weighted_sum_of_all_params():
    values = np.random.default_rng(0).normal(size=30)
    average = ema.start(jnp.array(values[0]))
    for value in values[1:]:
        average = ema.update(average, jnp.array(value), 0.9)
    weights = np.array([0.9**29, *(0.1 * 0.9 ** np.arange(28, -1, -1))])
    np.testing.assert_allclose(average, weights @ values, rtol=1e-13)


def test_decay_zero_is_the_params_themselves():
    np.testing.assert_array_equal(ema.update(ema.start(jnp.array([5.0])), jnp.array([3.0]), 0.0), [3.0])


@pytest.mark.float64
def test_warm_up_decays_are_one_plus_count_over_ten_plus_count():
    average, expected = ema.start(jnp.array(1.0)), 1.0
    for count in range(20):
        average = ema.update(average, jnp.array(0.0), 0.6, count=count)
        expected *= min(0.6, (1 + count) / (10 + count))
    np.testing.assert_allclose(average, expected, rtol=1e-6)


def test_average_of_bfloat16_params_moves_at_decay_999():
    start, target = jnp.ones(3, jnp.bfloat16), jnp.full(3, 2.0, jnp.bfloat16)
    average = follow(ema.start(start), target, 0.999, 1000)
    np.testing.assert_allclose(average, 2 - 0.999**1000, rtol=1e-5)


def test_share_of_new_params_keeps_its_digits_at_decay_9999():
    moved = ema.update(ema.start(jnp.array(0.0)), jnp.array(1.0), 0.9999)
    np.testing.assert_allclose(moved, 1e-4, rtol=1e-6)


def test_integer_leaves_are_taken_from_params():
    average = ema.update({"n": jnp.array(1)}, {"n": jnp.array(7)}, 0.9)
    assert int(average["n"]) == 7


def test_a_bfloat16_average_and_a_decay_of_one_are_refused():
    with pytest.raises(ConfigError, match="decay = 1"):
        ema.update(jnp.ones(1), jnp.ones(1), 1.0)
    with pytest.raises(TypeError, match="float32"):
        ema.update(jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.bfloat16), 0.9)


def test_every_track_of_a_step_follows_its_own_decay():
    state = linear.start(ema=(0.9, 0.5))
    before = state.params["dense"]["bias"]
    after, _ = training.make_step(linear.exact, linear.adamw(), ema_warm_up=False)(state, linear.batch())
    moved = after.params["dense"]["bias"] - before
    for decay in (0.9, 0.5):
        np.testing.assert_allclose(after.tracks[decay]["dense"]["bias"] - before, (1 - decay) * moved, rtol=1e-4)


def test_the_default_step_warms_up_so_that_ten_steps_forget_the_random_start():
    start = follow(ema.start(jnp.array(1.0)), jnp.array(0.0), 0.999, 10, warm_up=True)
    np.testing.assert_allclose(start, math.prod((1 + n) / (10 + n) for n in range(10)), rtol=1e-5)
    state = linear.start(ema=(0.999,))
    before = state.params["dense"]["bias"]
    after, _ = training.make_step(linear.exact, linear.adamw())(state, linear.batch())
    moved = after.params["dense"]["bias"] - before
    np.testing.assert_allclose(after.ema["dense"]["bias"] - before, 0.9 * moved, rtol=1e-4)
