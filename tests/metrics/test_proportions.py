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
    none, every = proportions.share(np.zeros(10, bool)), proportions.share(np.ones(10, bool), confidence=0.5)
    high = scipy.stats.binomtest(0, 10).proportion_ci(0.95, method="wilson").high
    assert none.number == (0.0, 0.0, high) and every.value == every.high == 1.0 and 1 - high < every.low < 1


test_shares_of_nothing_are_refused = refusals(
    (lambda: proportions.share(np.zeros(0, bool)), "hits is empty"),
    (lambda: proportions.share(np.ones(2, bool), confidence=1.0), "confidence = 1"),
)
