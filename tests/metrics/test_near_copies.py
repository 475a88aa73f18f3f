import numpy as np
import pytest

from gendiff.metrics import near_copies


def sample(n, seed):
    return np.random.default_rng(seed).standard_normal((n, 16))


def test_copies_are_all_found_and_their_ratio_is_exactly_zero():
    x = sample(200, 0)
    assert near_copies.rate(x[::3], x) == 1.0
    assert not near_copies.ratios(x, x).any()


def test_fresh_samples_are_no_copies():
    assert near_copies.rate(sample(300, 1), sample(500, 0)) < 0.02


def test_slightly_changed_copies_are_found():
    x = sample(200, 0)
    assert near_copies.rate(x + 0.05 * sample(200, 1), x) == 1.0


def test_the_ratio_is_nearest_over_second_nearest():
    training = np.array([[0.0], [10.0]])
    np.testing.assert_allclose(near_copies.ratios(np.array([[1.0], [5.0], [8.0]]), training), [1 / 9, 1, 2 / 8])
    assert near_copies.rate(np.array([[1.0], [5.0], [8.0]]), training, threshold=0.2) == pytest.approx(1 / 3)


def test_the_threshold_itself_is_no_copy():
    assert near_copies.rate(np.array([[3.0]]), np.array([[0.0], [9.0]]), threshold=0.5) == 0.0


def test_duplicates_in_the_training_data_do_not_hide_a_copy():
    x = sample(50, 0)
    np.testing.assert_array_equal(near_copies.ratios(x, np.vstack([x, x])), near_copies.ratios(x, x))


def test_bad_rows_are_refused_with_counts():
    with pytest.raises(ValueError, match="training has 1 distinct row of 3"):
        near_copies.ratios(sample(4, 0), np.ones((3, 16)))
    with pytest.raises(ValueError, match="samples has 16 features per row but training has 15"):
        near_copies.ratios(sample(4, 0), sample(4, 1)[:, :15])
    with pytest.raises(ValueError, match="samples: 4 of 4 rows hold NaN"):
        near_copies.ratios(sample(4, 0) * np.nan, sample(4, 1))
    with pytest.raises(ValueError, match="threshold = 1.5"):
        near_copies.rate(sample(4, 0), sample(4, 1), threshold=1.5)
