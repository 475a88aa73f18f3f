"""Shares of counted events and their differences."""

import numpy as np
import pytest
import scipy.stats

from gendiff.metrics import proportions
from tests.refusals import refusals


def test_the_interval_of_a_difference_is_that_of_newcombes_example():
    """56 of 70 and 48 of 80 (Newcombe, 1998, Table II, from memory)."""
    shares = [proportions.share(np.arange(n) < hits) for hits, n in ((56, 70), (48, 80))]
    assert proportions.difference(*shares).number == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_a_share_of_none_and_of_all_has_an_interval_of_some_width_that_grows_with_the_confidence():
    none, all_of_them = proportions.share(np.zeros(10, bool)), proportions.share(np.ones(10, bool), confidence=0.5)
    high = scipy.stats.binomtest(0, 10).proportion_ci(0.95, method="wilson").high
    assert (
        none.number == (0.0, 0.0, high)
        and all_of_them.value == all_of_them.high == 1.0
        and 1 - high < all_of_them.low < 1
    )


def test_paired_hits_are_compared_by_a_fair_coin_over_those_that_differ():
    first = np.array([True] * 5 + [False] * 2 + [True] * 30 + [False] * 40)
    second = np.array([False] * 5 + [True] * 2 + [True] * 30 + [False] * 40)
    comparison = proportions.mcnemar(first, second)
    assert (comparison.only_first, comparison.only_second) == (5, 2)
    assert comparison.p_value == pytest.approx((21 + 7 + 1) / 2**7)  # 5, 6 or 7 heads of 7
    back = proportions.mcnemar(second, first)
    assert comparison.p_value + back.p_value == pytest.approx(1 + 21 / 2**7)  # both count the case itself
    assert proportions.mcnemar(first, first).p_value == 1.0


test_shares_of_nothing_are_refused = refusals(
    (lambda: proportions.share(np.zeros(0, bool)), "hits is empty"),
    (lambda: proportions.share(np.ones(2, bool), confidence=1.0), "confidence = 1"),
    (lambda: proportions.mcnemar(np.ones(2, bool), np.ones(3, bool)), "first has shape"),
)
