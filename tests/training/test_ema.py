import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import training
from gendiff.core.errors import ConfigError
from gendiff.training import ema
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.training import linear

pytestmark = pytest.mark.numbers


def follow(average, params, decay, steps, warm_up=False):
    def one(average, count):
        return ema.update(average, params, decay, count=count if warm_up else None), None

    return jax.lax.scan(one, average, jnp.arange(steps))[0]


@table(
    "start, target, decay, steps, dtype",
    [
        ([2.0, -1.0], [1.0, 3.0], 0.99, 200, "float32"),
        ([1.0] * 3, [2.0] * 3, 0.999, 1000, "bfloat16"),  # it moves although the parameters have 8 bits
        ([0.0], [1.0], 0.9999, 1, "float32"),  # the share of the new ones keeps its digits
        ([5.0], [3.0], 0.0, 1, "float32"),  # the parameters themselves
    ],
)
def test_average_of_constant_params_has_its_closed_form(start, target, decay, steps, dtype):
    average = follow(ema.start(jnp.array(start, dtype)), jnp.array(target, dtype), decay, steps)
    start, target = np.array(start), np.array(target)
    np.testing.assert_allclose(
        average, target * (1 - decay**steps) + start * decay**steps, rtol=1e-5 if steps > 1 else 1e-6
    )


@pytest.mark.float64
def test_average_is_the_weighted_sum_of_all_params():
    values = np.random.default_rng(0).normal(size=30)
    average = ema.start(jnp.array(values[0]))
    for value in values[1:]:
        average = ema.update(average, jnp.array(value), 0.9)
    weights = np.array([0.9**29, *(0.1 * 0.9 ** np.arange(28, -1, -1))])
    np.testing.assert_allclose(average, weights @ values, rtol=1e-13)


@table("decay, steps", [(0.6, 20), (0.999, 10)])
def test_warm_up_decays_are_one_plus_count_over_ten_plus_count_so_that_ten_steps_forget_the_random_start(decay, steps):
    average = follow(ema.start(jnp.array(1.0)), jnp.array(0.0), decay, steps, warm_up=True)
    np.testing.assert_allclose(average, np.prod([min(decay, (1 + n) / (10 + n)) for n in range(steps)]), rtol=1e-5)


def test_integer_leaves_are_taken_from_params():
    assert ema.update({"n": jnp.array(1)}, {"n": jnp.array(7)}, 0.9) == {"n": 7}


test_a_bfloat16_average_and_a_decay_of_one_are_refused = refusals(
    (lambda: ema.update(jnp.ones(1), jnp.ones(1), 1.0), "decay = 1", ConfigError),
    (lambda: ema.update(jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.bfloat16), 0.9), "float32", TypeError),
)


@table("options, shares", [({"ema_warm_up": False}, {0.9: 0.1, 0.5: 0.5}), ({}, {0.999: 0.9})])
def test_every_track_of_a_step_follows_its_own_decay_and_the_default_step_warms_up(options, shares):
    state = linear.start(ema=tuple(shares))
    before = state.params["dense"]["bias"]
    after, _ = quickly(training.make_step(linear.exact, linear.adamw(), **options))(state, linear.batch())
    for decay, share in shares.items():
        moved = share * (after.params["dense"]["bias"] - before)
        np.testing.assert_allclose(after.tracks[decay]["dense"]["bias"] - before, moved, rtol=1e-4)
