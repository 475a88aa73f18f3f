"""Confidence intervals of shares of counted events, of differences of two shares, and of paired events.

At 0 and 1 the intervals still have a width.
"""

from dataclasses import dataclass

import numpy as np
import scipy
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
    """Measure the difference of two independent shares, with Newcombe's interval.

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


@dataclass(frozen=True)
class McNemar:
    """Paired hits and misses that differ.

    Args:
        only_first: how many are hits in the first and not in the second.
        only_second: how many are hits in the second and not in the first.
        p_value: the chance of so many or more of `only_first` where either is as likely as the other: one-sided, exact.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Bool[np.ndarray, "n"], second: Bool[np.ndarray, "n"]) -> McNemar:
    """Test whether the first has more hits than the second on the same n questions: McNemar's test.

    Questions on which both agree say nothing of it, so the test is a coin's on those that differ. Without any, p is 1.

    Args:
        first: (n,) hits, such as wrong answers before training.
        second: (n,) hits on the same questions, such as those after it.

    Raises:
        ValueError: for different lengths.

    References:
        McNemar, 1947, in its exact form (from memory).
    """
    checks.same_shape("first", first, "second", second)
    more, less = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    p = scipy.stats.binomtest(more, more + less, alternative="greater").pvalue if more + less else 1.0
    return McNemar(more, less, float(p))
