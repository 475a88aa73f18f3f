"""Interleaved timing and its statistics, on numbers whose answers are known."""

import numpy as np
import pytest

from experiments.benchmarks import pairs


def test_calls_take_turns_and_every_second_round_runs_backwards():
    order: list[str] = []

    def call(name: str, seconds: float):
        return lambda: order.append(name) or seconds

    found = pairs.interleave({"a": call("a", 1.0), "b": call("b", 2.0)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": (1.0, 1.0, 1.0), "b": (2.0, 2.0, 2.0)}


def test_a_constant_ratio_has_an_interval_of_no_width_and_the_same_pairs_give_the_same_interval():
    seconds = np.linspace(1.0, 2.0, 9)  # the machine drifts, and both sides with it
    found = pairs.ratio(1.5 * seconds, seconds)
    np.testing.assert_allclose([found.value, found.low, found.high], 1.5)
    ours, theirs = np.random.default_rng(1).uniform(1, 2, (2, 9))
    assert pairs.ratio(theirs, ours) == pairs.ratio(theirs, ours)


def test_the_interval_of_a_noisy_ratio_covers_it_in_most_repeats():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(40):
        ours, theirs = np.exp(rng.normal(0.0, 0.1, 9)), 1.3 * np.exp(rng.normal(0.0, 0.1, 9))
        found = pairs.ratio(theirs, ours, seed)
        covered += found.low <= 1.3 <= found.high
    assert covered >= 34


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(power: float):
    x = np.array([1.0, 4.0, 16.0])
    found = pairs.exponent(x, [[value**power] * 5 for value in x])
    np.testing.assert_allclose([found.value, found.low, found.high], power, atol=1e-12)


def test_an_exponent_of_one_point_is_refused():
    with pytest.raises(ValueError, match="at least 2 values"):
        pairs.exponent([1.0], [[1.0, 2.0]])


def test_contenders_are_the_fastest_and_those_within_the_margin():
    seconds = {"eager": 1.05, "channels_last": 1.3, "compiled": 1.0}
    assert pairs.contenders(seconds, 0.1, 3) == ["compiled", "eager"]
    assert pairs.contenders(seconds, 0.1, 1) == ["compiled"]
    assert pairs.contenders(seconds, 0.5, 3) == ["compiled", "eager", "channels_last"]
