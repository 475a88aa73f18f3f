"""Shares of counted events with intervals that stay wider than nothing at 0 and 1, and the difference of two shares."""

import numpy as np
import scipy.stats
from jaxtyping import Bool

from gendiff.core import checks
from gendiff.metrics.bootstrap import Interval


def share(hits: Bool[np.ndarray, "n"], *, confidence: float = 0.95) -> Interval:
    """Measure the share of hits, with Wilson's interval.

    Args:
        hits: (n,), n >= 1.
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: for no entry, and a confidence out of range.

    References:
        Wilson, 1927 (from memory).
    """
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    if not len(hits):
        raise ValueError("hits is empty: a share of nothing is unknown")
    ends = scipy.stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(confidence, method="wilson")
    return Interval(float(hits.mean()), float(ends.low), float(ends.high))


def difference(first: Interval, second: Interval) -> Interval:
    """Subtract a share from another that was counted by itself, with Newcombe's interval from the ends of theirs.

    Args:
        first: a share with Wilson's interval.
        second: another, of the same confidence.

    References:
        Newcombe, 1998, method 10 (from memory).
    """
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, float(value - below), float(value + above))
