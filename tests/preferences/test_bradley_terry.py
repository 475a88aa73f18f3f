"""Reward models beside the likelihood of Bradley and Terry written out in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import preferences
from tests.quickly import quickly
from tests.refusals import refusals

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 4)).astype(np.float32)
RANKING = np.stack([RNG.permutation(4) for _ in range(5)])
ranked = quickly(jax.value_and_grad(preferences.bradley_terry, has_aux=True))


def test_it_is_the_mean_surprise_of_all_pairs_of_a_ranking():
    better, worse = zip(*itertools.combinations(range(4), 2), strict=True)
    ordered = np.take_along_axis(SCORES.astype(np.float64), RANKING, 1)
    margins = ordered[:, better] - ordered[:, worse]
    (loss, metrics), _ = ranked(SCORES, RANKING)
    np.testing.assert_allclose(loss, np.mean(-np.log(1 / (1 + np.exp(-margins)))), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(margins > 0))
    np.testing.assert_allclose(metrics["margin"], margins.mean(), rtol=1e-4, atol=1e-6)


def test_a_constant_per_prompt_changes_nothing_and_no_gradient_goes_along_it():
    (loss, _), gradient = ranked(SCORES, RANKING)
    (moved, _), same = ranked(SCORES + np.arange(5, dtype=np.float32)[:, None], RANKING)
    np.testing.assert_allclose(moved, loss, rtol=1e-5)
    np.testing.assert_allclose(same, gradient, atol=1e-6)
    np.testing.assert_allclose(np.sum(gradient, 1), 0, atol=1e-6)
    assert np.all(np.take_along_axis(np.asarray(gradient), RANKING, 1)[:, 0] < 0)  # the best one rises


def test_scores_that_made_the_preferences_have_the_least_expected_loss():
    """All pairs of five answers, in both orders by their probabilities: the gradient is 0 at the scores that made
    them.
    """
    truth = np.array([-1.0, 0.3, 0.5, 2.0, 0.0], np.float32)
    first, second = np.triu_indices(5, 1)

    def expected(scores):
        def loss(one, other):
            return preferences.bradley_terry(jnp.stack([one, other])[None], np.array([[0, 1]]))[0]

        wins = preferences.preference(truth[first], truth[second])
        both = jax.vmap(loss)
        return jnp.sum(wins * both(scores[first], scores[second]) + (1 - wins) * both(scores[second], scores[first]))

    gradient = quickly(jax.vmap(jax.grad(expected)))(np.stack([truth, truth + 3, 2 * truth]))
    np.testing.assert_allclose(gradient[:2], 0, atol=1e-6)
    assert np.abs(gradient[2]).max() > 0.1


def test_scores_of_any_size_have_finite_losses_and_a_tie_is_half_right():
    (loss, _), gradient = ranked(1e4 * SCORES, RANKING)
    assert np.isfinite(loss) and np.all(np.isfinite(gradient))
    (loss, metrics), _ = ranked(0 * SCORES, RANKING)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
    assert metrics["accuracy"] == 0.5


def test_one_of_two_answers_is_preferred():
    first, second = SCORES[:, 0], SCORES[:, 1]
    one, other = preferences.preference(first, second), preferences.preference(second, first)
    np.testing.assert_allclose(one + other, 1, rtol=1e-6)
    np.testing.assert_allclose(one, 1 / (1 + np.exp(second - first)), rtol=1e-5)


def test_normalised_scores_of_the_reference_have_mean_0_and_deviation_1_and_keep_their_order():
    of_reference = 40 + 7 * SCORES[0]
    fitted = quickly(preferences.normaliser)(of_reference)
    apply = quickly(lambda fitted, scores: fitted(scores))
    normalised = np.asarray(apply(fitted, of_reference))
    np.testing.assert_allclose([normalised.mean(), normalised.std()], [0, 1], atol=1e-5)
    np.testing.assert_array_equal(np.argsort(normalised), np.argsort(of_reference))
    np.testing.assert_allclose(
        apply(fitted, np.full(4, 47.0, np.float32)), (47 - of_reference.mean()) / of_reference.std(), rtol=1e-4
    )
    alike = np.full(4, 2.0, np.float32)
    np.testing.assert_array_equal(apply(quickly(preferences.normaliser)(alike), alike), 0)


def test_members_disagree_by_their_variance():
    np.testing.assert_allclose(preferences.disagreement(SCORES), SCORES.var(0), rtol=1e-5)
    np.testing.assert_array_equal(preferences.disagreement(np.zeros((3, 2, 2), np.float32)), np.zeros((2, 2)))


test_what_does_not_fit_is_refused = refusals(
    (lambda: preferences.bradley_terry(SCORES, RANKING[:, :2]), r"ranking has shape \(5, 2\)"),
    (lambda: preferences.bradley_terry(SCORES[:, :1], RANKING[:, :1] * 0), "at least two answers"),
    (lambda: preferences.bradley_terry(SCORES, RANKING + 1), "ranking holds 4, which is none of 0 … 3"),
    (lambda: preferences.bradley_terry(SCORES, 0 * RANKING), "must name each of the 4 answers of a row once"),
    (lambda: preferences.bradley_terry(SCORES, RANKING / 1), "ranking must hold integers", TypeError),
    (lambda: preferences.preference(SCORES, SCORES[:1]), "second has shape"),
    (lambda: preferences.normaliser(np.full(3, 2.0, np.float32)), "scores are all 2: they have no scale"),
    (lambda: preferences.normaliser(np.array([1, np.nan], np.float32)), "scores is not finite"),
    (lambda: preferences.normaliser(SCORES[0, :1]), "at least two are needed"),
    (lambda: preferences.disagreement(SCORES[:1]), "at least two members"),
)
