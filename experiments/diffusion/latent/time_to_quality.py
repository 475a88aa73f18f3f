"""How long a training takes to a given quality, from a few points of its curve, and how much faster one is than
another.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gendiff.metrics import bootstrap
from gendiff.runs.reporting.verdicts import Number

SEED = 0
"""Of resamples; training has its own seeds."""
Bound = Literal["", "at most", "more than"]


@dataclass(frozen=True)
class Reached:
    """After how many seconds a curve is at its target.

    bound: "at most" where its first point is there already, and "more than" where no point is: the seconds are then of
    the first or the last point.
    """

    seconds: float
    bound: Bound = ""


@dataclass(frozen=True)
class Speedup:
    """How many times the seconds of the second training those of the first are, with its interval, and both.

    bound: of the ratio, where only a bound of a time is known.
    """

    ratio: Number
    slower: Reached
    faster: Reached

    @property
    def bound(self) -> Literal["", "at least", "at most", "unknown"]:
        """The slower training is at its own last distance at its end at the latest, so its time is never "more
        than".
        """
        if self.slower.bound:
            return "unknown" if self.faster.bound == "at most" else "at most"
        return "at least" if self.faster.bound == "at most" else "at most" if self.faster.bound else ""


def reach(seconds: Sequence[float] | np.ndarray, distances: Sequence[float] | np.ndarray, target: float) -> Reached:
    """The first time at which the curve is at or below the target, on straight lines between points in log seconds and
    log distance.
    """
    if distances[0] <= target:
        return Reached(float(seconds[0]), "at most")
    for (before, high), (after, low) in itertools.pairwise(zip(seconds, distances, strict=True)):
        if low <= target:
            share = math.log(high / target) / math.log(high / low) if min(low, target) > 0 else 1.0
            return Reached(float(before * (after / before) ** share))
    return Reached(float(seconds[-1]), "more than")


def speedup(
    slower: tuple[np.ndarray, np.ndarray], faster: tuple[np.ndarray, np.ndarray], *, resamples: int, owed: float = 0.0
) -> Speedup:
    """Seconds to the last distance of the slower curve: those of the slower over those of the faster, to which `owed`
    seconds are added.

    slower, faster: (seconds (k,), draws of the distance (k, draws)). The interval is that of a bootstrap of the draws
    of every point. In it, as in the value, a time that is no more than bounded counts as its bound.
    """
    (slow_seconds, slow), (fast_seconds, fast) = slower, faster

    def both(*points: np.ndarray) -> tuple[Reached, Reached]:
        means = [float(np.mean(point)) for point in points]
        first, second = means[: len(slow_seconds)], means[len(slow_seconds) :]
        return reach(slow_seconds, first, first[-1]), reach(fast_seconds, second, first[-1])

    def ratio(*points: np.ndarray) -> float:
        first, second = both(*points)
        return first.seconds / (second.seconds + owed)

    points = (*slow, *fast)
    interval = bootstrap.interval(np.random.default_rng(SEED), ratio, *points, paired=False, resamples=resamples)
    first, second = both(*points)
    return Speedup(interval.number, first, Reached(second.seconds + owed, second.bound))


def at_equal_time(seconds: Sequence[float] | np.ndarray, distances: Sequence[float] | np.ndarray, when: float) -> float:
    """The distance of a curve at a time, on the same lines; NaN before its first point, and that of the last point
    after it.
    """
    if when < seconds[0]:
        return math.nan
    return float(np.exp(np.interp(math.log(when), np.log(seconds), np.log(np.maximum(distances, 1e-12)))))
