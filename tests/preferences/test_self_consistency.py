"""Votes are counted as by hand, ties are broken at random, and what is no answer has no vote."""

import collections

import jax
import numpy as np
import scipy.stats

from gendiff import preferences
from tests.quickly import quickly
from tests.refusals import refusals

SEED = 5
count, weigh = quickly(preferences.majority), quickly(preferences.weighted_vote)
ANSWERS = np.random.default_rng(2).integers(-1, 4, size=(200, 7))
WEIGHTS = np.random.default_rng(3).uniform(0, 1, size=(200, 7)).astype(np.float32)


def test_the_majority_is_that_of_counting():
    for row, chosen in zip(ANSWERS, np.asarray(count(jax.random.key(SEED), ANSWERS)), strict=True):
        counts = collections.Counter(answer for answer in row.tolist() if answer >= 0)
        assert counts[int(chosen)] == max(counts.values())


def test_a_weighted_vote_has_the_largest_sum_and_equal_weights_are_a_majority():
    for row, weights, chosen in zip(
        ANSWERS, WEIGHTS, np.asarray(weigh(jax.random.key(SEED), ANSWERS, WEIGHTS)), strict=True
    ):
        sums = {answer: weights[row == answer].sum() for answer in set(row.tolist()) - {-1}}
        np.testing.assert_allclose(sums[int(chosen)], max(sums.values()), rtol=1e-6)
    np.testing.assert_array_equal(
        weigh(jax.random.key(SEED), ANSWERS, np.full_like(WEIGHTS, 0.5)), count(jax.random.key(SEED), ANSWERS)
    )


def test_one_heavy_candidate_outvotes_all_others():
    heavy = WEIGHTS.copy()
    heavy[:, 3] = 100
    expected = np.where(
        ANSWERS[:, 3] >= 0,
        ANSWERS[:, 3],
        weigh(jax.random.key(SEED), ANSWERS, np.where(ANSWERS[:, 3:4] < 0, WEIGHTS, heavy)),
    )
    np.testing.assert_array_equal(weigh(jax.random.key(SEED), ANSWERS, heavy), expected)


def test_answers_with_equally_many_votes_are_equally_likely():
    tied = np.tile(np.array([[7, 9, 9, 2, 7, 5]]), (6000, 1))  # 7 and 9 have two votes each
    counts = np.bincount(weigh(jax.random.key(SEED), tied, np.ones(tied.shape, np.float32)), minlength=10)
    assert counts[7] + counts[9] == 6000 and scipy.stats.chisquare(counts[[7, 9]]).pvalue > 1e-3
    heavier = np.where(tied == 5, 2.0, 1.0).astype(np.float32)  # a sum of one candidate ties with sums of two
    counts = np.bincount(weigh(jax.random.key(SEED), tied, heavier), minlength=10)
    assert scipy.stats.chisquare(counts[[5, 7, 9]]).pvalue > 1e-3


def test_what_is_no_answer_has_no_vote_and_weights_that_are_no_numbers_count_nothing():
    answers, weights = np.full(ANSWERS.shape, -1), np.ones(WEIGHTS.shape, np.float32)
    answers[0, 3], answers[2, :4] = 4, (3, 3, 4, 4)
    weights[0, :4], weights[2, :4] = (np.nan, 9, 9, 0.1), (np.nan, 0.1, 0.3, np.nan)
    assert np.asarray(weigh(jax.random.key(SEED), answers, weights))[:4].tolist() == [4, -1, 4, -1]
    assert np.asarray(count(jax.random.key(SEED), answers))[:2].tolist() == [4, -1]
    answers[:, :], weights[:, :] = -1, 0
    answers[:, 0], weights[:, 0] = 3, -np.inf
    assert (np.asarray(weigh(jax.random.key(SEED), answers, weights)) == 3).all()  # the only one that there is


test_a_mistake_is_refused = refusals(
    (lambda: preferences.majority(jax.random.key(SEED), np.zeros((1, 2))), "answers must hold integers", TypeError),
    (lambda: preferences.majority(jax.random.key(SEED), np.array([[-2, 1]])), "answers = .* is outside"),
    (lambda: preferences.majority(jax.random.key(SEED), np.array([1, 2])), r"answers has shape \(2,\)"),
    (lambda: preferences.weighted_vote(jax.random.key(SEED), ANSWERS, WEIGHTS[:3]), "they must be equal"),
    (
        lambda: preferences.weighted_vote(jax.random.key(SEED), ANSWERS, ANSWERS),
        "weights must be a floating",
        TypeError,
    ),
    (lambda: preferences.majority(None, ANSWERS), "key is None", TypeError),
)
