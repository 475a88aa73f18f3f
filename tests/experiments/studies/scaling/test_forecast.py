"""Forecasts of curves whose larger sizes are known."""

import dataclasses

import numpy as np
import pytest

from experiments.scaling import forecast
from experiments.scaling.forecast import LOG, LOGIT, MATCH
from gendiff.runs.reporting import intervals

SIZES = np.array([1e3, 2e3, 4e3, 8e3, 1.6e4, 3.2e4])


@pytest.mark.parametrize("link", (LOG, LOGIT))
def test_a_line_is_forecast_exactly_and_a_kink_is_not(link):
    line = link.back(-3.0 + 0.4 * np.log(SIZES / 1e3))
    value, low, high = forecast.straight(link, SIZES[:4], line[:4], SIZES[4:], 0.9)
    assert np.allclose(value, line[4:]) and np.allclose(low, high)
    bent = link.back(np.array([0, 0.1, -0.1, 0.05, 2.0, 4.0]) - 3)
    value, low, high = forecast.straight(link, SIZES[:4], bent[:4], SIZES[4:], 0.9)
    assert (low < value).all() and (value < high).all() and bent[5] > high[1]


def test_intervals_hold_what_they_promise_under_normal_noise():
    rng, inside = np.random.default_rng(0), []
    for _ in range(400):
        values = np.exp(2.0 - 0.3 * np.log(SIZES) + 0.2 * rng.normal(size=6))
        _, low, high = forecast.straight(LOG, SIZES[:4], values[:4], SIZES[4:], 0.9)
        inside.append((low <= values[4:]) & (values[4:] <= high))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_errors_are_shares_of_the_range_and_far_begins_at_four_times_the_size():
    columns = {"parameters": SIZES, MATCH: np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])}
    predicted = list(forecast.forecasts(forecast.Config(fitted=3), MATCH, "adders", columns))
    assert [(each.fitted, each.times) for each in predicted] == [(3, 2), (3, 4), (3, 8), (4, 2), (4, 4), (5, 2)]
    others = [dataclasses.replace(each, format="others", value=each.value + 0.1) for each in predicted]
    result = forecast.scored(MATCH, [*predicted, *others], {"adders": 0.5, "others": 0.5}).measures
    assert result["no change, far"][0] == pytest.approx(np.mean([0.2, 0.3, 0.2]) / 0.5)
    far = [
        np.mean([abs(each.value - each.truth) / 0.5 for each in rows if each.times >= 4])
        for rows in (predicted, others)
    ]
    np.testing.assert_allclose(result["far"], intervals.over_seeds(np.mean, far))  # of two numbers, not of six
