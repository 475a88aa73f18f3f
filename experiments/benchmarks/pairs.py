"""Interleaved timing of several ways to do one thing, and what the numbers say: ratios with their intervals, exponents."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gendiff.metrics import bootstrap
from gendiff.metrics.bootstrap import Interval


def interleave(calls: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, tuple[float, ...]]:
    """Seconds of each call in each round; a call does the work once and answers its seconds.

    Every second round runs backwards, so that a drift of the machine favours no call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: 1 if number % 2 == 0 else -1]:
            seconds[name].append(calls[name]())
    return {name: tuple(spent) for name, spent in seconds.items()}


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Interval:
    """The median over pairs of slower / faster, with the 95 % bootstrap interval over pairs.

    Raises ValueError for sequences of different lengths or fewer than 2 pairs.
    """
    quotients = np.asarray(slower, np.float64) / np.asarray(faster, np.float64)
    return bootstrap.interval(np.random.default_rng(0), np.median, quotients, resamples=2000)


def exponent(x: Sequence[float], seconds: Sequence[Sequence[float]]) -> Interval:
    """The slope of log seconds over log x by least squares, with the 95 % bootstrap interval over the repeats of every x.

    seconds: (points, repeats). 1 is linear growth. Raises ValueError for fewer than 2 points or 2 repeats.
    """
    table = np.log(np.asarray(seconds, np.float64)).T  # (repeats, points)
    across = np.log(np.asarray(x, np.float64))
    if len(across) < 2:
        raise ValueError(f"an exponent needs at least 2 values of x, got {len(across)}")
    centred = across - across.mean()

    def slope(rows: np.ndarray) -> float:
        return float(np.median(rows, axis=0) @ centred / (centred @ centred))

    return bootstrap.interval(np.random.default_rng(0), slope, table, resamples=2000)


def contenders(seconds: Mapping[str, float], margin: float, most: int) -> list[str]:
    """The fastest name, and those within `margin` of it (0.1: 10 %), fastest first, at most `most`."""
    ranked = sorted(seconds, key=lambda name: seconds[name])
    return [name for name in ranked if seconds[name] <= (1 + margin) * seconds[ranked[0]]][:most]
