"""Nearest neighbours, and the two measures that rest on them: near copies, precision and recall."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gendiff.metrics import near_copies, neighbours, precision_recall
from tests.metrics.rows import normal, rng
from tests.refusals import refusals
from tests.tables import table

LINE = np.array([[0.0], [1.0], [3.0], [7.0], [7.0]])
X = normal(0, 9, 8)


def test_nearest_first_ties_by_index_and_only_others_within_one_set():
    lengths, index = neighbours.nearest(np.array([[2.0], [6.0]]), LINE, 3)
    np.testing.assert_array_equal(lengths, [[1, 1, 2], [1, 1, 3]])
    np.testing.assert_array_equal(index, [[1, 2, 0], [3, 4, 2]])
    lengths, index = neighbours.nearest(LINE, LINE, 2, others=True)  # a duplicate is another one
    np.testing.assert_array_equal(lengths, [[1, 3], [1, 2], [2, 3], [0, 4], [0, 4]])
    np.testing.assert_array_equal(index[3:], [[4, 2], [3, 2]])


def test_equal_rows_are_exactly_zero_apart_and_tiny_differences_are_seen():
    x = rng().uniform(1e6, 2e6, (50, 64))
    lengths, index = neighbours.nearest(x, x, 1)
    assert not lengths.any() and index[:, 0].tolist() == list(range(50))
    assert neighbours.nearest(x + 1e-6, x, 1)[0].max() == pytest.approx(8e-6, rel=1e-2)


@table("others", [False, True])
def test_chunks_change_nothing(monkeypatch, others):
    x = normal(0, 40, 3)
    full = neighbours.nearest(x, x, 4, others=others)
    with monkeypatch.context() as patch:
        patch.setattr(neighbours, "CHUNK", 7)
        chunked = neighbours.nearest(x, x, 4, others=others)
    for part, expected in zip(chunked, full, strict=True):
        np.testing.assert_array_equal(part, expected)


@table("others", [False, True])
@table(
    "points",
    [
        normal(0, 300, 3),
        normal(0, 300, 40) + 1e6,  # squares have lost all digits of the distances
        np.repeat(normal(0, 30, 5), 10, axis=0),
        rng().integers(0, 3, (300, 4)).astype(float),
        np.zeros((20, 3)),
        normal(0, 50, 3) * 1e-160,
        normal(0, 50, 3) * 1e140,
        normal(0, 50, 3) * 1e160,
    ],
)
def test_neighbours_are_those_of_all_distances_sorted_bit_for_bit(points, others):
    queries = points if others else points[::-1] + 1e-9
    distances = cdist(queries, points)
    if others:
        np.fill_diagonal(distances, np.nan)  # sorted last, behind distances that overflow
    index = np.argsort(distances, axis=1, kind="stable")[:, :4]
    nearest = neighbours.nearest(queries, points, 4, others=others)
    np.testing.assert_array_equal(nearest[1], index)
    np.testing.assert_array_equal(nearest[0], np.take_along_axis(distances, index, axis=1))


def test_copies_also_slightly_changed_ones_are_found_and_fresh_samples_are_none():
    x = normal(0, 200, 16)
    assert near_copies.rate(x[::3], x) == 1.0 and not near_copies.ratios(x, x).any()
    assert near_copies.rate(x + 0.05 * normal(1, 200, 16), x) == 1.0
    assert near_copies.rate(normal(1, 300, 16), normal(0, 500, 16)) < 0.02


def test_the_ratio_is_nearest_over_second_nearest_of_distinct_rows():
    samples, training = np.array([[1.0], [5.0], [8.0]]), np.array([[0.0], [10.0]])
    np.testing.assert_allclose(near_copies.ratios(samples, training), [1 / 9, 1, 2 / 8])
    np.testing.assert_array_equal(
        near_copies.ratios(samples, np.vstack([training, training])), near_copies.ratios(samples, training)
    )
    assert near_copies.rate(samples, training, threshold=0.2) == pytest.approx(1 / 3)
    # the threshold itself is no copy
    assert near_copies.rate(np.array([[3.0]]), np.array([[0.0], [9.0]]), threshold=0.5) == 0.0


def test_shares_of_sets_that_cover_each_other_wholly_or_not():
    x, y = normal(0, 100, 8), normal(1, 100, 8)
    for real, samples, shares in (
        (x, x[::-1], (1.0, 1.0)),
        (x, y + 100, (0.0, 0.0)),
        (np.vstack([x, y + 100]), x, (1.0, 0.5)),  # one mode of two
        (x, np.vstack([x, 100 + 1e-3 * y]), (0.5, 1.0)),  # half noise
    ):
        assert precision_recall.measure(real, samples) == precision_recall.PrecisionRecall(*shares)


def test_a_ball_reaches_exactly_to_the_kth_other_row_and_duplicates_shrink_it_to_a_point():
    points = np.array([[0.0], [1.0], [2.0], [3.0]])  # radii for k = 3: 3, 2, 2, 3
    queries = np.array([[-3.0], [-3.001], [6.0], [6.001], [1.5]])
    assert precision_recall.inside(queries, points, k=3).tolist() == [True, False, True, False, True]
    assert precision_recall.inside(np.array([[4.0], [4.1]]), points, k=1).tolist() == [True, False]
    with pytest.raises(ValueError, match="k = 0"):
        precision_recall.inside(queries, points, k=0)
    twins = np.vstack([np.zeros((4, 1)), np.full((4, 1), 9.0)])
    assert precision_recall.inside(np.array([[0.0], [1e-9]]), twins, k=3).tolist() == [True, False]


def test_exchanging_the_sets_exchanges_precision_and_recall_and_a_large_offset_changes_nothing():
    x, y = normal(0, 80, 8), 0.7 * normal(1, 50, 8)
    forward, backward = precision_recall.measure(x, y), precision_recall.measure(y, x)
    assert (forward.precision, forward.recall) == (backward.recall, backward.precision)
    assert forward.precision > forward.recall
    assert precision_recall.measure(x + 2.0**30, y + 2.0**30) == forward


test_too_few_rows_and_bad_features_are_refused_with_counts = refusals(
    (lambda: neighbours.nearest(LINE, LINE, 6), "6 neighbours are asked for, but there are only 5 points"),
    (lambda: neighbours.nearest(LINE, LINE, 6, others=True), "6 neighbours are asked for, but there are only 4 points"),
    (lambda: near_copies.ratios(X, np.ones((3, 8))), "training has 1 distinct row of 3"),
    (lambda: near_copies.ratios(X, X[:, :7]), "samples has 8 features per row but training has 7"),
    (lambda: near_copies.ratios(X * np.nan, X), "samples: 9 of 9 rows hold NaN"),
    (lambda: near_copies.rate(X, X, threshold=1.5), "threshold = 1.5"),
    (lambda: precision_recall.measure(X[:3], X), r"real has shape \(3, 8\): at least 4 rows"),
    (lambda: precision_recall.measure(X, X[:, :7]), "real has 8 features per row but samples has 7"),
    (lambda: precision_recall.measure(X, X * np.nan), "samples: 9 of 9 rows hold NaN"),
    (lambda: precision_recall.over_subsets(X, X, seed=0), "samples has 9 rows, fewer than the 1000 asked for"),
    (lambda: precision_recall.measure(X, X, k=0), "k = 0"),
)
test_too_few_rows_and_bad_features_are_refused_with_counts = pytest.mark.fault(
    "likelihood, metrics: feature sizes differ",
    "likelihood, metrics: NaN features",
    "likelihood, metrics: fewer samples than asked",
)(test_too_few_rows_and_bad_features_are_refused_with_counts)
