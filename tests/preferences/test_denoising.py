"""Preferences between samples: the loss against its formula, its symmetries, and where its gradient points."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import preferences
from tests.refusals import refusals
from tests.tables import table

RNG = np.random.default_rng(0)
ERRORS = RNG.uniform(0.1, 2.0, (4, 6)).astype(np.float32)


def test_the_loss_is_that_of_dpo_with_errors_in_the_place_of_minus_log_likelihoods():
    winner, loser, reference_winner, reference_loser = ERRORS
    loss, metrics = preferences.diffusion_dpo(*ERRORS, beta=3.0)
    same, _ = preferences.dpo(-winner, -loser, -reference_winner, -reference_loser, beta=3.0)
    np.testing.assert_allclose(loss, same, rtol=1e-6)
    margin = (reference_winner - winner) - (reference_loser - loser)
    np.testing.assert_allclose(loss, np.mean(np.log1p(np.exp(-3.0 * margin))), rtol=1e-6)
    np.testing.assert_allclose(
        [metrics["margin"], metrics["accuracy"]], [margin.mean(), (margin > 0).mean()], rtol=1e-5
    )


def test_a_policy_that_is_the_reference_has_the_loss_log_2_and_a_gradient():
    winner, loser = ERRORS[:2]

    def loss(winner, loser):
        return preferences.diffusion_dpo(winner, loser, ERRORS[0], ERRORS[1], beta=2.0)[0]

    np.testing.assert_allclose(loss(winner, loser), np.log(2), rtol=1e-6)
    up, down = jax.grad(loss, (0, 1))(jnp.asarray(winner), jnp.asarray(loser))
    np.testing.assert_allclose(up, np.full(6, 2.0 / 2 / 6), rtol=1e-5)
    np.testing.assert_allclose(down, -up, rtol=1e-6)


def test_what_is_common_to_winner_and_loser_cancels_and_no_gradient_reaches_the_reference():
    shifted = ERRORS + np.array([0.5, 0.5, 0.25, 0.25], np.float32)[:, None]
    np.testing.assert_allclose(
        preferences.diffusion_dpo(*shifted, beta=3.0)[0], preferences.diffusion_dpo(*ERRORS, beta=3.0)[0], rtol=1e-5
    )
    slopes = jax.grad(lambda *errors: preferences.diffusion_dpo(*errors, beta=3.0)[0], (2, 3))(
        *map(jnp.asarray, ERRORS)
    )
    assert not np.any(slopes)


@table("beta", [1e-3, 1e3])
def test_the_order_of_pairs_does_not_matter_and_large_numbers_stay_finite(beta):
    order = RNG.permutation(6)
    others = ERRORS[1:] * 50
    value, slope = jax.value_and_grad(lambda winner: preferences.diffusion_dpo(winner, *others, beta=beta)[0])(
        jnp.asarray(ERRORS[0])
    )
    moved = preferences.diffusion_dpo(ERRORS[0][order], *others[:, order], beta=beta)[0]
    np.testing.assert_allclose(moved, value, rtol=1e-5)
    assert np.isfinite(value) and np.all(np.isfinite(slope))


test_bad_errors_are_refused = refusals(
    (lambda: preferences.diffusion_dpo(*ERRORS, beta=0.0), "beta = 0 is outside"),
    (lambda: preferences.diffusion_dpo(ERRORS[0], ERRORS[1, :5], ERRORS[2], ERRORS[3], beta=1.0), "winner has shape"),
)
