import numpy as np
import pytest

from gendiff.metrics import near_copies


def sample(n, seed):
    return np.random.default_rng(seed).standard_normal((n, 16))


def test_copies_are_all_found_and_their_ratio_is_exactly_zero():
    x = sample(200, 0)
    assert near_copies.rate(x[::3], x) == 1.0
    assert not near_copies.ratios(x, x).any()


def test_slightly_changed_copies_are_found_and_fresh_samples_are_no_copies():
    x = sample(200, 0)
    assert near_copies.rate(x + 0.05 * sample(200, 1), x) == 1.0
    assert near_copies.rate(sample(300, 1), sample(500, 0)) < 0.02


def test_the_ratio_is_nearest_over_second_nearest():
    training = np.array([[0.0], [10.0]])
    np.testing.assert_allclose(near_copies.ratios(np.array([[1.0], [5.0], [8.0]]), training), [1 / 9, 1, 2 / 8])
    assert near_copies.rate(np.array([[1.0], [5.0], [8.0]]), training, threshold=0.2) == pytest.approx(1 / 3)
    assert near_copies.rate(np.array([[3.0]]), np.array([[0.0], [9.0]]), threshold=0.5) == 0.0  # the threshold itself is no copy


def test_duplicates_in_the_training_data_do_not_hide_a_copy():
    x = sample(50, 0)
    np.testing.assert_array_equal(near_copies.ratios(x, np.vstack([x, x])), near_copies.ratios(x, x))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: near_copies.ratios(x, np.ones((3, 16))), "training has 1 distinct row of 3"),
        (lambda x: near_copies.ratios(x, x[:, :15]), "samples has 16 features per row but training has 15"),
        (lambda x: near_copies.ratios(x * np.nan, x), "samples: 4 of 4 rows hold NaN"),
        (lambda x: near_copies.rate(x, x, threshold=1.5), "threshold = 1.5"),
    ],
)
def test_bad_rows_are_refused_with_counts(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(sample(4, 0))
