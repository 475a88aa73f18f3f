import math

import numpy as np
import pytest
import scipy.linalg

from gendiff.metrics import frechet


def covariance(size, rank, seed):
    factor = np.random.default_rng(seed).standard_normal((rank, size))
    return factor.T @ factor / rank


def gaussian(mean, matrix):
    return frechet.from_moments(np.array(mean), np.array(matrix))


def sample(n, size, seed):
    return np.random.default_rng(seed).standard_normal((n, size))


def exact(mean, matrix, n=None):
    """Rows whose mean and unbiased covariance are exactly these."""
    values, vectors = np.linalg.eigh(matrix)
    n = n or 2 * len(matrix) + 3
    basis = np.linalg.qr(np.hstack([np.ones((n, 1)), sample(n, len(matrix), 9)]))[0][:, 1:]
    return mean + math.sqrt(n - 1) * basis @ (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T)


def test_diagonal_covariances_add_over_the_axes_the_differences_of_means_and_of_deviations():
    one = gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    other = gaussian(np.array([1.0, 2.0, 3.0]), np.diag([16.0, 4.0, 0.0]))
    assert frechet.between(one, other) == pytest.approx(14 + 9 + 0 + 9, rel=1e-14)


@pytest.mark.parametrize("size", [2, 3, 20])
def test_full_rank_covariances_that_do_not_commute_agree_with_the_matrix_square_root(size):
    one, other, shift = covariance(size, 2 * size, 0), covariance(size, 2 * size, 1), np.arange(size)
    expected = shift @ shift + np.trace(one + other - 2 * scipy.linalg.sqrtm(one @ other).real)
    assert frechet.between(gaussian(np.zeros(size), one), gaussian(shift, other)) == pytest.approx(expected, rel=1e-10)


def test_singular_covariances_on_crossing_lines_are_exact():
    along = gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]])
    for angle in (0.0, 0.3, math.pi / 2):
        direction = np.array([math.cos(angle), math.sin(angle)])
        turned = gaussian([0.0, 0.0], 4 * np.outer(direction, direction))
        assert frechet.between(along, turned) == pytest.approx(1 + 4 - 4 * abs(math.cos(angle)), abs=1e-13)


@pytest.mark.parametrize("rank", [1, 5, 40])
def test_a_rank_deficient_gaussian_is_at_distance_zero_from_itself(rank):
    one = gaussian(np.zeros(50), covariance(50, rank, 0))
    assert frechet.between(one, one) < 1e-11


def test_samples_with_exact_moments_give_the_closed_form():
    one, other = covariance(6, 3, 0), covariance(6, 6, 1)
    shift = np.arange(6.0)
    expected = frechet.between(gaussian(np.zeros(6), one), gaussian(shift, other))
    assert frechet.distance(exact(np.zeros(6), one), exact(shift, other)) == pytest.approx(expected, rel=1e-9)


def test_fewer_rows_than_features_and_constant_features_are_no_trouble():
    x = np.hstack([sample(10, 30, 0), np.full((10, 4), 0.1)])
    assert frechet.distance(x, x) < 1e-12
    assert frechet.distance(x, x + 2.0) == pytest.approx(4 * 34, rel=1e-12)
    assert frechet.distance(x, 3 * x) == pytest.approx(4 * (np.sum(x.mean(axis=0) ** 2) + x.var(axis=0, ddof=1).sum()), rel=1e-12)


def test_distance_is_symmetric_and_unchanged_by_rotation_and_order():
    x, y = sample(60, 5, 0), 2 * sample(80, 5, 1) + 1
    turn = np.linalg.qr(sample(5, 5, 2))[0]
    value = frechet.distance(x, y)
    assert frechet.distance(y, x) == pytest.approx(value, rel=1e-12)
    assert frechet.distance(x @ turn, y @ turn) == pytest.approx(value, rel=1e-12)
    assert frechet.distance(x[::-1], np.random.default_rng(0).permutation(y)) == pytest.approx(value, rel=1e-12)


def test_a_large_offset_does_not_drown_a_small_spread():
    x, y = sample(100, 4, 0), 2 * sample(100, 4, 1)
    assert frechet.distance(x + 1e6, y + 1e6) == pytest.approx(frechet.distance(x, y), rel=1e-6)


def test_subsets_depend_on_the_seed_only_and_the_whole_is_the_distance_itself():
    x, y = sample(50, 3, 0), sample(400, 3, 1)
    np.testing.assert_allclose(frechet.over_subsets(x, y, count=4, size=400, seed=0), frechet.distance(x, y), rtol=1e-10)
    values = frechet.over_subsets(x, y, size=50, seed=3)
    assert values.shape == (20,) and len(np.unique(values)) == 20
    np.testing.assert_array_equal(frechet.over_subsets(x, y, size=50, seed=3), values)
    assert not np.array_equal(frechet.over_subsets(x, y, size=50, seed=4), values)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (sample(1, 3, 0), r"other has shape \(1, 3\): at least 2 rows"),
        (sample(5, 2, 0), "features has 3 features per row but other has 2"),
        (np.full((5, 3), np.nan), "other: 5 of 5 rows hold NaN"),
    ],
)
def test_bad_features_are_refused_with_counts(other, message):
    with pytest.raises(ValueError, match=message):
        frechet.distance(sample(5, 3, 0), other)
    with pytest.raises(ValueError, match="other has 5 rows, fewer than the 1000 asked for"):
        frechet.over_subsets(sample(5, 3, 0), sample(5, 3, 0), seed=0)


@pytest.mark.parametrize("matrix", [[[1.0, 0.0], [0.5, 1.0]], [[1.0, 2.0], [2.0, 1.0]]])
def test_what_is_no_covariance_is_refused(matrix):
    with pytest.raises(ValueError, match="covariance must be symmetric with no negative eigenvalue"):
        gaussian([0.0, 0.0], matrix)
