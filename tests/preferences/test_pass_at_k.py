"""pass@k is the share of all sets of k answers that hold a right one."""

import fractions
import itertools
import tracemalloc

import numpy as np
import pytest

from gendiff.preferences import pass_at_k
from tests.refusals import refusals
from tests.tables import table


@table("n", range(1, 9))
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


def exact(n, c, k):
    """By whole numbers: the right answers are drawn one by one, and each misses the set of k."""
    missed = fractions.Fraction(1)
    for number in range(min(c, k)):
        missed *= fractions.Fraction(n - number - max(c, k), n - number)
    return float(1 - missed)


def test_it_is_exact_for_any_number_of_answers():
    draw = np.random.default_rng(0)
    rows = [(int(n), *map(int, draw.integers((0, 1), n, endpoint=True))) for n in draw.integers(1, 400, 300)]
    for n in (10**4, 10**9, 2**52):
        rows += [
            (n, c, k)
            for c in (0, 1, 2, 63, 64, 65, 66, 300)
            for k in (1, 3, 64, 65, 400, n // 1000, n // 2, n - 80, n - 1, n)
        ]
    np.testing.assert_allclose(pass_at_k(*np.transpose(rows)), [exact(*row) for row in rows], rtol=1e-12)


def test_a_thousand_million_answers_have_their_limits_and_take_no_memory():
    n = 10**9
    tracemalloc.start()
    many = np.array([1, 31_623, 10**6, n // 2, n])
    values = pass_at_k(n, many, many[:, None])
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    np.testing.assert_allclose(values[0], many / n, rtol=1e-14)  # one answer is counted: the share of right ones
    np.testing.assert_allclose(values, values.T, rtol=1e-14)  # which are right and which are counted may change places
    assert values[1, 1] == pytest.approx(1 - np.exp(-1), rel=1e-4)  # Poisson: c k = n
    assert values[2, 2] == values[3, 3] == 1 and np.all(np.diff(values) >= 0)
    assert pass_at_k(n, n // 10, 20) == pytest.approx(1 - 0.9**20, rel=1e-7)  # with replacement


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
