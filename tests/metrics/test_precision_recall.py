import numpy as np
import pytest

from gendiff.metrics import precision_recall


def sample(n, seed):
    return np.random.default_rng(seed).standard_normal((n, 8))


def test_equal_sets_cover_each_other_whatever_their_order():
    x = sample(60, 0)
    assert precision_recall.measure(x, x) == precision_recall.PrecisionRecall(1.0, 1.0)
    assert precision_recall.measure(x, x[::-1] + 0.0) == precision_recall.PrecisionRecall(1.0, 1.0)


def test_disjoint_sets_do_not_cover_each_other():
    assert precision_recall.measure(sample(60, 0), sample(60, 1) + 100) == precision_recall.PrecisionRecall(0.0, 0.0)


def test_one_mode_of_two_is_precise_but_misses_half():
    one, two = sample(100, 0), sample(100, 1) + 100
    measured = precision_recall.measure(np.vstack([one, two]), one)
    assert measured.precision == 1.0 and measured.recall == 0.5


def test_samples_half_of_which_are_noise_are_half_precise_and_reach_all():
    x = sample(100, 0)
    measured = precision_recall.measure(x, np.vstack([x, 100 + 1e-3 * sample(100, 1)]))
    assert measured.precision == 0.5 and measured.recall == 1.0


def test_a_ball_reaches_exactly_to_the_kth_other_row():
    points = np.array([[0.0], [1.0], [2.0], [3.0]])  # radii for k = 3: 3, 2, 2, 3
    queries = np.array([[-3.0], [-3.001], [6.0], [6.001], [1.5]])
    assert precision_recall.inside(queries, points, k=3).tolist() == [True, False, True, False, True]
    assert precision_recall.inside(np.array([[4.0], [4.1]]), points, k=1).tolist() == [True, False]


def test_duplicates_shrink_a_ball_to_a_point():
    points = np.vstack([np.zeros((4, 1)), np.full((4, 1), 9.0)])
    assert precision_recall.inside(np.array([[0.0], [1e-9]]), points, k=3).tolist() == [True, False]


def test_exchanging_the_sets_exchanges_precision_and_recall():
    x, y = sample(80, 0), 0.7 * sample(50, 1)
    forward, backward = precision_recall.measure(x, y), precision_recall.measure(y, x)
    assert (forward.precision, forward.recall) == (backward.recall, backward.precision)
    assert forward.precision > forward.recall


def test_a_large_offset_changes_nothing():
    x, y = sample(80, 0), sample(80, 1)
    assert precision_recall.measure(x + 2.0**30, y + 2.0**30) == precision_recall.measure(x, y)


def test_draws_of_all_samples_are_precision_and_recall_themselves_and_smaller_ones_depend_on_the_seed():
    x, y = sample(60, 0), sample(80, 1)
    assert precision_recall.over_subsets(x, y, count=2, size=80, seed=0) == [precision_recall.measure(x, y)] * 2
    values = precision_recall.over_subsets(x, y, size=30, seed=3)
    assert len(values) == 20 and values == precision_recall.over_subsets(x, y, size=30, seed=3) != precision_recall.over_subsets(
        x, y, size=30, seed=4
    )


def test_too_few_rows_and_bad_features_are_refused_with_counts():
    with pytest.raises(ValueError, match=r"real has shape \(3, 8\): at least 4 rows"):
        precision_recall.measure(sample(3, 0), sample(9, 1))
    with pytest.raises(ValueError, match="real has 8 features per row but samples has 7"):
        precision_recall.measure(sample(9, 0), sample(9, 1)[:, :7])
    with pytest.raises(ValueError, match="samples: 9 of 9 rows hold NaN"):
        precision_recall.measure(sample(9, 0), sample(9, 1) * np.nan)
    with pytest.raises(ValueError, match="samples has 9 rows, fewer than the 1000 asked for"):
        precision_recall.over_subsets(sample(9, 0), sample(9, 1), seed=0)
    with pytest.raises(ValueError, match="k = 0"):
        precision_recall.measure(sample(9, 0), sample(9, 1), k=0)
