"""Prices are operations or seconds times what the caller states, and serving catches up with training after three times
its tokens.
"""

import numpy as np
import pytest

from gendiff.scaling import cost, price
from tests.refusals import refusals


def test_serving_three_times_the_training_tokens_takes_the_operations_of_training():
    parameters, tokens = 70e9, 1.4e12
    served = price.break_even_tokens(tokens)
    assert served == 3 * tokens
    assert cost.forward_flops(parameters, served) == cost.training_flops(parameters, tokens)
    assert price.lifetime_flops(parameters, tokens, served) == 2 * cost.training_flops(parameters, tokens)


def test_at_the_break_even_both_bills_are_equal_whatever_the_machines_cost():
    peak, per_hour = 1e15, 2.5
    training = price.of_flops(cost.training_flops(7e9, 2e12), peak, 0.4, per_hour)
    served = price.break_even_tokens(2e12, training_utilisation=0.4, serving_utilisation=0.1)
    assert price.of_flops(cost.forward_flops(7e9, served), peak, 0.1, per_hour) == pytest.approx(training)
    assert price.break_even_days(2e12, 1e11, 0.4, 0.1) == pytest.approx(served / 1e11)


def test_weeks_are_enough_where_a_fifth_of_the_training_tokens_is_served_per_day():
    """The claim "inference cost can exceed training cost within weeks" is one about traffic."""
    assert price.break_even_days(1.4e12, 1.4e12 / 5) == pytest.approx(15)
    assert price.break_even_days(1.4e12, 1.4e12 / 5, 0.4, 0.08) == pytest.approx(3), (
        "earlier, where generation is bounded by memory"
    )


def test_a_range_is_its_own_interval_and_independent_ones_add_as_squares():
    assert price.product_interval((1.0, 4.0, 1)) == pytest.approx((2.0, 1.0, 4.0))
    assert price.product_interval((1.0, 4.0, -1)) == pytest.approx((0.5, 0.25, 1.0))
    wide = price.product_interval((1.0, 81.0, 1), (1.0, 256.0, 0.5), (5.0, 5.0, 2))
    half = np.hypot(np.log(81) / 2, np.log(256) / 4)
    assert wide == pytest.approx((900.0, 900 / np.exp(half), 900 * np.exp(half)))


def test_a_token_of_chinchilla_costs_two_and_a_half_times_less_than_one_of_gpt_3_with_attention_too():
    """Layers and widths: Brown et al., 2020, Table 2.1; Hoffmann et al., 2022, Table 4 (from memory)."""
    assert cost.forward_flops(175e9) / cost.forward_flops(70e9) == 2.5
    attention = [cost.attention_flops(2048, *shape) for shape in ((96, 96, 128), (80, 64, 128))]
    assert cost.forward_flops(175e9, 1, attention[0]) / cost.forward_flops(70e9, 1, attention[1]) == pytest.approx(
        2.47, abs=0.005
    )


def test_a_million_tokens_cost_the_seconds_that_they_take():
    assert price.per_million_tokens(1000.0, 3.6) == pytest.approx(1.0)
    np.testing.assert_allclose(price.per_million_tokens(np.array([500.0, 2000.0]), 3.6, busy=0.5), [4.0, 1.0])


def test_where_arithmetic_is_the_bound_both_prices_of_a_token_agree():
    peak, parameters = 2e14, 1e9
    by_flops = price.of_flops(cost.forward_flops(parameters, 1e6), peak, 0.5, 7.0)
    assert price.per_million_tokens(0.5 * peak / (2 * parameters), 7.0) == pytest.approx(by_flops)


test_mistakes_are_refused = refusals(
    (lambda: price.of_flops(1.0, 1.0, 1.5, 1.0), r"utilisation = 1.5 is outside \(0, 1\]"),
    (lambda: price.of_flops(1.0, 0.0, 0.5, 1.0), "peak = 0"),
    (lambda: price.per_million_tokens(0.0, 1.0), "throughput = 0"),
    (lambda: price.per_million_tokens(1.0, -1.0), "per_hour = -1"),
    (lambda: price.break_even_tokens(1.0, serving_utilisation=0.0), "serving_utilisation = 0"),
    (lambda: price.break_even_days(1.0, 0.0), "tokens_per_day = 0"),
    (lambda: price.product_interval((0.0, 1.0, 1)), "low = 0"),
    (lambda: price.product_interval((2.0, 1.0, 1)), "high = 1"),
)
