import math

import numpy as np
import pytest
import scipy.linalg

from gendiff.metrics import frechet
from tests.metrics.rows import normal, rng
from tests.refusals import refusals


def covariance(size, rank, seed):
    factor = normal(seed, rank, size)
    return factor.T @ factor / rank


def gaussian(mean, matrix):
    return frechet.from_moments(np.array(mean), np.array(matrix))


def exact(mean, matrix):
    """Rows whose mean and unbiased covariance are exactly these."""
    values, vectors = np.linalg.eigh(matrix)
    n = 2 * len(matrix) + 3
    basis = np.linalg.qr(np.hstack([np.ones((n, 1)), normal(9, n, len(matrix))]))[0][:, 1:]
    return mean + math.sqrt(n - 1) * basis @ (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T)


def test_diagonal_covariances_add_over_the_axes_the_differences_of_means_and_of_deviations():
    one, other = gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0])), gaussian([1.0, 2.0, 3.0], np.diag([16.0, 4.0, 0.0]))
    assert frechet.between(one, other) == pytest.approx(14 + 9 + 0 + 9, rel=1e-14)


@pytest.mark.parametrize("size", [2, 3, 20])
def test_full_rank_covariances_that_do_not_commute_agree_with_the_matrix_square_root(size):
    one, other, shift = covariance(size, 2 * size, 0), covariance(size, 2 * size, 1), np.arange(size)
    expected = shift @ shift + np.trace(one + other - 2 * scipy.linalg.sqrtm(one @ other).real)
    assert frechet.between(gaussian(np.zeros(size), one), gaussian(shift, other)) == pytest.approx(expected, rel=1e-10)


def test_singular_covariances_are_exact_on_crossing_lines_and_at_distance_zero_from_themselves():
    along = gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]])
    for angle in (0.0, 0.3, math.pi / 2):
        direction = np.array([math.cos(angle), math.sin(angle)])
        turned = gaussian([0.0, 0.0], 4 * np.outer(direction, direction))
        assert frechet.between(along, turned) == pytest.approx(1 + 4 - 4 * abs(math.cos(angle)), abs=1e-13)
    for rank in (1, 5, 40):
        one = gaussian(np.zeros(50), covariance(50, rank, 0))
        assert frechet.between(one, one) < 1e-11


def test_samples_with_exact_moments_give_the_closed_form():
    one, other, shift = covariance(6, 3, 0), covariance(6, 6, 1), np.arange(6.0)
    expected = frechet.between(gaussian(np.zeros(6), one), gaussian(shift, other))
    assert frechet.distance(exact(np.zeros(6), one), exact(shift, other)) == pytest.approx(expected, rel=1e-9)


def test_fewer_rows_than_features_and_constant_features_are_no_trouble():
    x = np.hstack([normal(0, 10, 30), np.full((10, 4), 0.1)])
    assert frechet.distance(x, x) < 1e-12
    assert frechet.distance(x, x + 2.0) == pytest.approx(4 * 34, rel=1e-12)
    assert frechet.distance(x, 3 * x) == pytest.approx(4 * (np.sum(x.mean(axis=0) ** 2) + x.var(axis=0, ddof=1).sum()), rel=1e-12)


def test_distance_is_symmetric_and_unchanged_by_rotation_order_and_a_large_offset():
    x, y, turn = normal(0, 60, 5), 2 * normal(1, 80, 5) + 1, np.linalg.qr(normal(2, 5, 5))[0]
    value = frechet.distance(x, y)
    for same in ((y, x), (x @ turn, y @ turn), (x[::-1], rng().permutation(y))):
        assert frechet.distance(*same) == pytest.approx(value, rel=1e-12)
    assert frechet.distance(x + 1e6, y + 1e6) == pytest.approx(value, rel=1e-6)


test_bad_features_and_what_is_no_covariance_are_refused_with_counts = refusals(
    (lambda: frechet.distance(normal(0, 5, 3), normal(0, 1, 3)), r"other has shape \(1, 3\): at least 2 rows"),
    (lambda: frechet.distance(normal(0, 5, 3), normal(0, 5, 2)), "features has 3 features per row but other has 2"),
    (lambda: frechet.distance(normal(0, 5, 3), np.full((5, 3), np.nan)), "other: 5 of 5 rows hold NaN"),
    (lambda: frechet.over_subsets(normal(0, 5, 3), normal(0, 5, 3), seed=0), "other has 5 rows, fewer than the 1000 asked for"),
    (lambda: gaussian([0.0, 0.0], [[1.0, 0.0], [0.5, 1.0]]), "symmetric with no negative eigenvalue"),
    (lambda: gaussian([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), "symmetric with no negative eigenvalue"),
)
