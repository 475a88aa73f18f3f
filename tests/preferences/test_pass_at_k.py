"""pass@k is the share of all sets of k answers that hold a right one."""

import itertools

import numpy as np
import pytest

from gendiff.preferences import pass_at_k
from tests.refusals import refusals


@pytest.mark.parametrize("n", range(1, 9))
def test_it_equals_enumeration(n):
    for c in range(n + 1):
        right = np.arange(n) < c
        for k in range(1, n + 1):
            expected = np.mean([right[list(chosen)].any() for chosen in itertools.combinations(range(n), k)])
            assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)


def test_arrays_broadcast_and_the_estimate_is_unbiased():
    assert pass_at_k(8, np.array([0, 3, 8]), np.array([[1], [8]])).tolist() == [[0, pytest.approx(3 / 8), 1], [0, 1, 1]]
    right = np.random.default_rng(0).binomial(16, 0.1, 100_000)
    estimates = pass_at_k(16, right, 4)
    assert abs(estimates.mean() - (1 - 0.9**4)) < 4 * estimates.std() / np.sqrt(len(right))
    biased = 1 - (1 - right / 16) ** 4  # the control: drawing with replacement
    assert biased.mean() < (1 - 0.9**4) - 10 * biased.std() / np.sqrt(len(right))


def test_many_answers_stay_in_range():
    values = pass_at_k(10**6, np.array([0, 1, 10**6 - 1]), 10**5)
    np.testing.assert_allclose(values, [0, 0.1, 1], atol=1e-6)


test_a_mistake_is_refused = refusals(
    (lambda: pass_at_k(0, 0, 1), "n = 0 is outside"),
    (lambda: pass_at_k(4, -1, 1), "c = -1 is outside"),
    (lambda: pass_at_k(4, 1, 0), "k = 0 is outside"),
    (lambda: pass_at_k(4, 5, 1), "c = 5 right answers are more than n = 4"),
    (lambda: pass_at_k(4, 1, np.array([2, 5])), "k = 5 is above n = 4"),
)
