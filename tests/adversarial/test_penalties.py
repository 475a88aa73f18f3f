"""The places where the gradient penalty looks, and what one gradient of a sum says of each sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.adversarial import penalties
from tests.quickly import quickly
from tests.refusals import refusals

SEED = 9  # for what fails before it draws
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def between(criticise, real, fake, target=0.0):
    """The gradient penalty on 20,000 equal segments."""
    ends = (np.tile(np.asarray(end, np.float32), (20_000, 1)) for end in (real, fake))
    return float(quickly(lambda *ends: penalties.gradient_penalty(jax.random.key(0), criticise, *ends, target))(*ends))


def test_places_are_uniform_on_the_segment_between_the_two_samples_of_a_row():
    """With x²/2 the slope is x, so that the penalty is the mean square of the place; with x³/3 it is that of its
    square.
    """
    assert abs(between(lambda x: x[:, 0] ** 2 / 2, [5.0], [7.0]) - (7**3 - 5**3) / 6) < 0.15
    assert abs(between(lambda x: x[:, 0] ** 3 / 3, [0.0], [2.0]) - 2**4 / 5) < 0.1


def test_all_numbers_of_a_sample_share_one_place():
    assert between(lambda x: (x[:, 0] - x[:, 1]) ** 2 / 2, [0.0, 0.0], [1.0, 1.0]) < 1e-12


def test_of_a_critic_that_judges_rows_one_by_one_all_slopes_are_those_of_the_single_samples():
    def logit(x):
        return jnp.tanh(x @ np.array([1.0, 2.0, -1.0], np.float32)) + jnp.sum(x**3)

    alone, square = quickly(lambda x: (jax.vmap(jax.grad(logit))(x), penalties.gradient_square(jax.vmap(logit), x)))(X)
    np.testing.assert_allclose(square, np.mean(np.sum(alone**2, axis=1)), rtol=1e-5)


def test_of_a_critic_that_looks_across_the_batch_a_slope_is_the_change_of_all_logits():
    """Each logit is the mean of all rows, so that it moves with a sample by 1 / 5, and all five together by 1."""
    assert abs(penalties.gradient_square(lambda x: jnp.full(5, jnp.mean(x[:, 0])), X) - 1) < 1e-6


def test_half_precision_is_squared_in_single_precision():
    value = penalties.gradient_square(lambda x: 300 * jnp.sum(x, axis=1), X.astype(np.float16))
    assert value.dtype == np.float32 and value == 3 * 300**2  # beyond the largest number of float16


test_samples_of_different_shapes_are_refused = pytest.mark.fault(
    "adversarial: real and generated samples of different shapes"
)(
    refusals(
        (
            lambda: penalties.gradient_penalty(jax.random.key(SEED), jnp.sum, X, X[:2]),
            r"real has shape \(5, 3\) but fake has shape \(2, 3\)",
        )
    )
)

test_mistakes_are_refused = refusals(
    (lambda: penalties.gradient(-1.0), "weight = -1 is outside"),
    (lambda: penalties.gradient(1.0, -1.0), "target = -1 is outside"),
    (lambda: penalties.r1(float("inf")), "weight = inf is outside"),
    (lambda: penalties.r2(float("nan")), "weight = nan is outside"),
    (
        lambda: penalties.gradient_penalty(jax.random.key(SEED), jnp.sum, np.ones((2, 3), int), np.ones((2, 3), int)),
        "floating",
        TypeError,
    ),
)
