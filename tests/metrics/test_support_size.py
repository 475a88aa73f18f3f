"""The birthday paradox: known supports are recovered, with intervals that hold them as often as they promise."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gendiff.metrics import proportions, support_size
from tests.metrics.rows import normal, rng
from tests.refusals import refusals
from tests.tables import table

X = normal(0, 12, 2)


def outcomes(seed, n, size):
    return rng(seed).integers(size, size=(n, 1)).astype(float)


def test_the_probability_of_a_duplicate_is_that_of_counting_all_draws():
    for size, batch in ((3, 2), (3, 3), (4, 3), (5, 4), (2, 3)):
        all_draws = list(itertools.product(range(size), repeat=batch))
        share = np.mean([len(set(draw)) < batch for draw in all_draws])
        assert support_size.duplicate_probability(size, batch) == pytest.approx(share, rel=1e-12)
    assert support_size.duplicate_probability(365, 23) == pytest.approx(0.507297, abs=1e-6)


@table("batch", [2, 3, 20, 500])
def test_the_size_is_the_inverse_of_the_probability(batch):
    for size in (batch - 0.5, batch, 1.7 * batch, 30 * batch, batch**2 + 0.0, 1e4 * batch**2):
        probability = support_size.duplicate_probability(size, batch)
        if probability < 1 - 1e-12:  # nearer to 1, floats do not tell sizes apart
            assert support_size.uniform_size(probability, batch) == pytest.approx(size, rel=1e-6)
    assert support_size.uniform_size(0.0, batch) == math.inf and support_size.uniform_size(1.0, batch) == batch - 1


def test_a_known_support_is_recovered_and_the_interval_holds_it_as_often_as_it_promises():
    size = [support_size.measure(outcomes(seed, 800, 300), 20) for seed in range(150)]
    inside = np.array([each.size.low <= 300 <= each.size.high for each in size])
    assert 0.90 < inside.mean() < 1.0  # promised: 0.95
    assert np.median([each.size.value for each in size]) == pytest.approx(300, rel=0.1)
    assert (size[0].batch, size[0].batches) == (20, 40)


@table("size, batch", [(25, 6), (10_000, 120)])
def test_supports_of_other_sizes_are_recovered(size, batch):
    estimate = support_size.measure(outcomes(0, 300 * batch, size), batch)
    assert estimate.size.value == pytest.approx(size, rel=0.25) and estimate.size.low < size < estimate.size.high
    assert abs(estimate.duplicates.value - support_size.duplicate_probability(size, batch)) < 0.1


def test_outcomes_that_are_not_equally_likely_never_look_like_more_than_there_are():
    for seed in range(20):
        shares = rng(seed).dirichlet(np.ones(4))
        for batch in (2, 3, 4):
            distinct = sum(np.prod(shares[list(draw)]) for draw in itertools.permutations(range(4), batch))
            assert support_size.uniform_size(1 - distinct, batch) <= 4 + 1e-9


def test_without_a_duplicate_the_size_has_a_lower_end_only_and_with_one_in_every_batch_an_upper_end_only():
    none, all_draws = support_size.measure(np.arange(100.0)[:, None], 10), support_size.measure(np.zeros((100, 1)), 10)
    assert none.size.value == none.size.high == math.inf
    assert none.size.low == support_size.uniform_size(proportions.share(np.zeros(10, bool)).high, 10) > 10
    assert all_draws.size.value == all_draws.size.low == 9 < all_draws.size.high < math.inf


def test_duplicates_are_rows_of_one_batch_within_the_distance_and_the_last_rows_are_left_out():
    rows = np.array([[0.0], [1.0], [5.0], [0.0], [2.5], [9.0], [9.0]])
    assert support_size.with_duplicates(rows, 3).tolist() == [False, False]
    assert support_size.with_duplicates(rows, 3, distance=1.0).tolist() == [True, False]
    assert support_size.with_duplicates(rows, 3, distance=2.5).tolist() == [True, True]
    assert support_size.with_duplicates(rows, 2).tolist() == [False, False, False]


def test_the_closest_pairs_are_those_of_all_distances_sorted():
    pairs, lengths = support_size.closest_pairs(X, 5)
    all_draws = cdist(X, X)
    all_draws[np.tril_indices(12)] = np.inf
    np.testing.assert_allclose(lengths, np.sort(all_draws.ravel())[:5])
    np.testing.assert_allclose([all_draws[i, j] for i, j in pairs], lengths)


test_what_says_nothing_of_duplicates_is_refused = refusals(
    (lambda: support_size.measure(X, 7), "samples has 12 rows, fewer than the 14 of two batches of 7"),
    (lambda: support_size.measure(X, 1), "batch = 1"),
    (lambda: support_size.measure(X, 3, distance=-1.0), "distance = -1"),
    (lambda: support_size.measure(X * np.nan, 3), "samples: 12 of 12 rows hold NaN"),
    (lambda: support_size.measure(X, 3, confidence=1.0), "confidence = 1"),
    (lambda: support_size.duplicate_probability(0.5, 2), "size = 0.5"),
    (lambda: support_size.uniform_size(1.5, 2), "probability = 1.5"),
    (lambda: support_size.closest_pairs(X, 67), "count = 67"),
)
