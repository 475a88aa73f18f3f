import numpy as np
import pytest

from gendiff.metrics import precision_recall


def sample(n, seed):
    return np.random.default_rng(seed).standard_normal((n, 8))


@pytest.mark.parametrize(
    ("real", "samples", "shares"),
    [
        (sample(60, 0), sample(60, 0)[::-1], (1.0, 1.0)),
        (sample(60, 0), sample(60, 1) + 100, (0.0, 0.0)),
        (np.vstack([sample(100, 0), sample(100, 1) + 100]), sample(100, 0), (1.0, 0.5)),
        (sample(100, 0), np.vstack([sample(100, 0), 100 + 1e-3 * sample(100, 1)]), (0.5, 1.0)),
    ],
    ids=["equal sets in any order", "disjoint sets", "one mode of two", "half noise"],
)
def test_shares_of_sets_that_cover_each_other_wholly_or_not(real, samples, shares):
    assert precision_recall.measure(real, samples) == precision_recall.PrecisionRecall(*shares)


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


def test_the_whole_as_a_subset_is_the_measure_itself_and_smaller_ones_depend_on_the_seed():
    x, y = sample(60, 0), sample(80, 1)
    assert precision_recall.over_subsets(x, y, count=2, size=80, seed=0) == [precision_recall.measure(x, y)] * 2
    one, same, other = (precision_recall.over_subsets(x, y, size=30, seed=seed) for seed in (3, 3, 4))
    assert len(one) == 20 and one == same != other


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: precision_recall.measure(x[:3], x), r"real has shape \(3, 8\): at least 4 rows"),
        (lambda x: precision_recall.measure(x, x[:, :7]), "real has 8 features per row but samples has 7"),
        (lambda x: precision_recall.measure(x, x * np.nan), "samples: 9 of 9 rows hold NaN"),
        (lambda x: precision_recall.over_subsets(x, x, seed=0), "samples has 9 rows, fewer than the 1000 asked for"),
        (lambda x: precision_recall.measure(x, x, k=0), "k = 0"),
    ],
)
def test_too_few_rows_and_bad_features_are_refused_with_counts(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(sample(9, 0))
