"""Direct preferences beside their formulas, and at the optimum that theory gives each of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from gendiff import preferences
from gendiff.preferences import direct
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

PAIRS = tuple(np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32))
GOOD, BAD = PAIRS[0] - PAIRS[2], PAIRS[1] - PAIRS[3]
dpo, ipo, kto = (
    quickly(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))
    for loss in (preferences.dpo, preferences.ipo, preferences.kto)
)


def logistic(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


@table("smoothing", [0.0, 0.2])
def test_dpo_is_its_formula(smoothing):
    margin = 0.3 * (GOOD - BAD)
    (loss, metrics), _ = dpo(*PAIRS, beta=0.3, label_smoothing=smoothing)
    expected = -(1 - smoothing) * np.log(logistic(margin)) - smoothing * np.log(logistic(-margin))
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    of_metrics = {"chosen_reward": 0.3 * GOOD, "rejected_reward": 0.3 * BAD, "margin": margin, "accuracy": margin > 0}
    assert metrics.keys() == of_metrics.keys()
    for name, value in of_metrics.items():
        np.testing.assert_allclose(metrics[name], np.mean(value), rtol=1e-4, atol=1e-6)


def test_ipo_is_its_formula():
    (loss, metrics), _ = ipo(*PAIRS, beta=0.3)
    np.testing.assert_allclose(loss, np.mean((GOOD - BAD - 1 / 0.6) ** 2), rtol=1e-5)
    np.testing.assert_allclose(metrics["margin"], 0.3 * np.mean(GOOD - BAD), rtol=1e-4)


def test_kto_is_its_formula_with_unequal_numbers_of_good_and_bad_answers():
    answers = PAIRS[0], PAIRS[1][:2], PAIRS[2], PAIRS[3][:2]
    (loss, metrics), _ = kto(*answers, beta=0.3, point=0.4, chosen_weight=0.5, rejected_weight=1.5)
    lost = [*0.5 * (1 - logistic(0.3 * (GOOD - 0.4))), *1.5 * (1 - logistic(0.3 * (0.4 - BAD[:2])))]
    np.testing.assert_allclose(loss, np.mean(lost), rtol=1e-5)
    np.testing.assert_allclose(
        [metrics["chosen_reward"], metrics["rejected_reward"]], 0.3 * np.array([GOOD.mean(), BAD[:2].mean()]), rtol=1e-4
    )


@table("loss", [dpo, ipo, kto])
def test_chosen_answers_rise_rejected_ones_fall_the_reference_gets_no_gradient_and_all_is_finite(loss):
    for scale in (1, 1e4):
        value, gradients = loss(*(np.float32(scale) * array for array in PAIRS), beta=0.3)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((value, gradients)))
        assert not any(np.any(leaf) for leaf in gradients[2:])
        if loss is not ipo:  # whose margin may be too large
            assert np.all(gradients[0] <= 0) and np.all(gradients[1] >= 0)
    _, gradients = loss(*(0 * array for array in PAIRS), beta=0.3)
    assert np.all(gradients[0] < 0) and np.all(gradients[1] > 0)


ANSWERS = 6
REWARDS = np.random.default_rng(1).normal(size=ANSWERS)
REFERENCE = scipy.special.log_softmax(np.random.default_rng(2).normal(size=ANSWERS))
FIRST, SECOND = (places.ravel() for places in np.meshgrid(np.arange(ANSWERS), np.arange(ANSWERS)))


@functools.cache
def expected_gradient():
    """Gradient of dpo over all pairs as often as Bradley and Terry's law gives them, by the policy's logits, for each
    β.
    """
    wins = jnp.asarray(logistic(REWARDS[FIRST] - REWARDS[SECOND]), jnp.float32)
    reference = jnp.asarray(REFERENCE, jnp.float32)

    def expected(logits, beta):
        def pair(first, second):
            log_p = jax.nn.log_softmax(logits)
            return preferences.dpo(
                log_p[first][None], log_p[second][None], reference[first][None], reference[second][None], beta=beta
            )[0]

        return jnp.mean(wins * jax.vmap(pair)(FIRST, SECOND))

    return quickly(jax.vmap(jax.grad(expected)))


def test_the_least_of_dpo_is_the_optimum_of_reward_less_beta_times_kl_and_with_a_large_beta_the_reference():
    betas = np.array([0.2, 1.0, 50.0], np.float32)
    optimum = (REFERENCE + REWARDS / betas[:, None]).astype(np.float32)
    np.testing.assert_allclose(expected_gradient()(optimum, betas) / betas[:, None], 0, atol=5e-5)
    away = expected_gradient()(np.tile(REFERENCE.astype(np.float32), (3, 1)), betas)
    assert np.abs(away[0]).max() > 0.01
    np.testing.assert_allclose(scipy.special.softmax(optimum[2]), np.exp(REFERENCE), atol=0.02)


def test_the_least_of_ipo_is_a_margin_that_grows_with_how_often_an_answer_wins_and_stays_finite_where_it_always_does():
    wins, beta, zero = np.array([0.5, 0.7, 1.0], np.float32), 0.1, jnp.zeros(1)

    def expected(margin, wins):
        one, other = (preferences.ipo(sign * margin[None], zero, zero, zero, beta=beta)[0] for sign in (1, -1))
        return wins * one + (1 - wins) * other

    np.testing.assert_allclose(quickly(jax.vmap(jax.grad(expected)))((2 * wins - 1) / (2 * beta), wins), 0, atol=1e-5)


def test_the_reference_point_is_a_mean_log_ratio_that_is_never_negative_and_has_no_gradient():
    point = quickly(jax.value_and_grad(direct.reference_point))
    (up, slope), (down, _) = point(PAIRS[0] + 5, PAIRS[1]), point(PAIRS[0] - 5, PAIRS[1])
    np.testing.assert_allclose(up, np.mean(PAIRS[0] + 5 - PAIRS[1]), rtol=1e-5)
    assert down == 0 and not np.any(slope)


def test_a_samples_log_probability_is_the_sum_or_the_mean_over_its_own_steps():
    values, mask = np.array([[1, 2, 4], [8, 16, np.nan]], np.float32), np.array([[0, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(direct.sequence_log_probs(values, mask), [6, 8])
    np.testing.assert_array_equal(direct.sequence_log_probs(values, mask, per_step=True), [3, 8])


COLUMN = PAIRS[0][:, None]
test_what_does_not_fit_is_refused = refusals(
    (lambda: preferences.dpo(*PAIRS, beta=0.0), "beta = 0 is outside"),
    (lambda: preferences.dpo(*PAIRS, beta=0.1, label_smoothing=0.5), r"label_smoothing = 0.5 is outside \[0, 0.5\)"),
    (lambda: preferences.dpo(COLUMN, *PAIRS[1:], beta=0.1), r"chosen has shape \(6, 1\)"),
    (lambda: preferences.dpo(COLUMN, COLUMN, COLUMN, COLUMN, beta=0.1), r"are \(b,\), one per sample"),
    (lambda: preferences.ipo(PAIRS[0], PAIRS[1][:3], *PAIRS[2:], beta=0.1), r"rejected has shape \(3,\)"),
    (lambda: preferences.kto(*PAIRS, beta=0.1, point=-1.0), "point = -1 is outside"),
    (lambda: preferences.kto(*PAIRS, beta=-0.1), "beta = -0.1 is outside"),
    (lambda: direct.sequence_log_probs(COLUMN, np.ones((6, 2))), r"log_probs has shape \(6, 1\)"),
)
