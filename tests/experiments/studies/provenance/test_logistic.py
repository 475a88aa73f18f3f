"""The logistic regression of hits on one number, on tables whose answer is known."""

import numpy as np
import pytest

from experiments.provenance import logistic


def test_the_logistic_slope_of_a_table_is_its_log_odds_with_a_half_in_each_cell():
    """Firth's penalty adds 1/2 to each cell of a 2×2 table (exact for one binary x), so the slope stays finite under
    separation.
    """
    for hits in ([7, 2], [10, 0], [0, 0], [5, 5]):
        x = np.repeat([1.0, 0.0], 10)
        y = np.concatenate([np.arange(10) < count for count in hits])
        odds = [np.log((count + 0.5) / (10 - count + 0.5)) for count in hits]
        slope, p = logistic.slope(x, y)
        assert slope == pytest.approx(odds[0] - odds[1], abs=1e-5)
        assert (p < 0.05) == (hits in ([7, 2], [10, 0])) and 0 <= p <= 1
        low, high = logistic.interval(x, y, 50)[1:]
        assert low <= slope <= high or hits == [10, 0]
    assert logistic.slope(np.repeat(np.arange(6.0), 16), np.arange(96) % 2)[1] > 0.5


def test_a_permutation_p_value_is_uniform_without_an_effect_and_small_with_one():
    rng, x = np.random.default_rng(0), np.repeat(np.arange(6.0), 4)
    p = [logistic.permuted(x, rng.permutation(np.arange(24) < 9), 200) for _ in range(200)]
    assert 0.4 < np.mean(p) < 0.6 and np.mean(np.array(p) <= 0.1) < 0.2
    assert logistic.permuted(x, x > 2, 200) == 1 / 201
