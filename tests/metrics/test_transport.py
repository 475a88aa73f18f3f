"""The exact 2-Wasserstein distance between sets of points, against closed forms and against all assignments."""

import itertools
import math

import numpy as np
import pytest

from gendiff.metrics import transport
from tests.metrics.rows import normal
from tests.refusals import refusals

X, Y = normal(0, 6, 2), normal(1, 6, 2)


def test_no_assignment_is_better():
    costs = (np.mean(np.sum((X - Y[list(order)]) ** 2, axis=1)) for order in itertools.permutations(range(6)))
    assert transport.wasserstein2(X, Y) == pytest.approx(math.sqrt(min(costs)), rel=1e-12)


def test_in_one_dimension_it_is_the_distance_of_the_sorted_points():
    x, y = normal(0, 200, 1), 2 * normal(1, 200, 1) + 1
    expected = np.sqrt(np.mean((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2))
    assert transport.wasserstein2(x, y) == pytest.approx(expected, rel=1e-12)


def test_a_shifted_set_is_as_far_as_the_shift_and_an_equal_one_is_exactly_zero_away_in_any_order():
    points, shift = normal(0, 100, 3), np.array([3.0, 4.0, 12.0])
    assert transport.wasserstein2(points, points[::-1] + shift) == pytest.approx(13.0, rel=1e-12)
    assert transport.wasserstein2(points, points[::-1]) == 0.0


def test_it_is_symmetric_and_has_the_unit_of_the_points():
    assert transport.wasserstein2(X, Y) == pytest.approx(transport.wasserstein2(Y, X), rel=1e-12)
    assert transport.wasserstein2(8 * X, 8 * Y) == 8 * transport.wasserstein2(X, Y)


def test_one_lost_mode_of_two_costs_half_of_the_squared_distance():
    both, one = np.repeat([[0.0], [10.0]], 50, axis=0), np.zeros((100, 1))
    assert transport.wasserstein2(both, one) == pytest.approx(math.sqrt(50), rel=1e-12)


test_sets_that_do_not_pair_off_are_refused = refusals(
    (lambda: transport.wasserstein2(X, Y[:5]), "x has 6 points but y has 5"),
    (lambda: transport.wasserstein2(X, Y[:, :1]), "x has 2 features per row but y has 1"),
    (lambda: transport.wasserstein2(X, Y * np.inf), "y: 6 of 6 rows hold NaN or infinity"),
    (lambda: transport.wasserstein2(np.zeros((4097, 1)), np.zeros((4097, 1))), "4097 points, more than the 4096"),
)
