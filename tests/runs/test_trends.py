"""Trends are found where they are, with the p-values that they deserve."""

import numpy as np
import pytest
import scipy.stats

from gendiff.runs.reporting import trends

SCALES = (0.0, 1.0, 2.0, 3.0)
RISING = np.array(SCALES)[:, None] * np.ones(20)


def trend(*tables, sign=1):
    return trends.measure(SCALES, tables, sign=sign, resamples=50, permutations=2000)


def test_rho_is_one_where_a_measure_rises_and_the_interval_widens_where_seeds_disagree():
    assert trend(RISING).rho == (1.0, 1.0, 1.0) and trend(-RISING).rho[0] == -1.0
    assert trend(0 * RISING).rho == (0.0, 0.0, 0.0)
    assert trend(RISING, -RISING).rho[1:] == (-1.0, 1.0)


def test_the_p_value_is_the_share_of_orders_that_rise_as_far():
    assert trend(RISING).p == pytest.approx(1 / 24, abs=0.02)
    assert trend(RISING, RISING).p < 0.01  # 1 / 576
    assert trend(RISING, sign=-1).p == trend(0 * RISING).p == 1.0


def test_spearman_is_that_of_scipy_and_its_steps_are_exact():
    values = np.random.default_rng(0).integers(0, 4, (30, 5)).astype(float)  # with ties
    values = values[values.std(axis=1) > 0]
    expected = [scipy.stats.spearmanr(range(5), row).statistic for row in values]
    np.testing.assert_allclose(trends.spearman(range(5), values), expected, atol=1e-11)
    assert trends.spearman(range(4), np.array([[1.0, 0.0, 2.0, 3.0]]))[0] == 0.8  # one pair swapped meets the threshold


def test_holm_multiplies_the_least_by_all_and_never_falls():
    np.testing.assert_allclose(trends.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(trends.holm([0.9, 0.8]), [1.0, 1.0])
