"""Intervals of measured numbers: what a verdict needs beside a value."""

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gendiff.core.types import Numeric
from gendiff.metrics import bootstrap
from gendiff.runs.reporting.verdicts import Number

SEED = 0
"""Of draws and bootstraps; training has its own seeds."""


def interval(
    statistic: Callable[..., Numeric],
    *rows: ArrayLike,
    paired: bool = False,
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
) -> Number:
    """The statistic of rows with its 95 % bootstrap interval. paired: the rows of all arrays belong together, and are
    drawn together.
    """
    rng = np.random.default_rng(SEED) if rng is None else rng
    return bootstrap.interval(rng, statistic, *rows, paired=paired, resamples=resamples).number


def over_seeds(statistic: Callable[..., Numeric], *rows: ArrayLike, paired: bool = True) -> Number:
    """The statistic of a row per seed with its 95 % t interval: they are too few for a bootstrap. paired: arrays have
    the same seeds.
    """
    return bootstrap.t_interval(statistic, *rows, paired=paired).number


def ratio_of_means(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean(first) / np.mean(second))


def difference_of_means(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean(first) - np.mean(second))


def median_of_ratios(first: np.ndarray, second: np.ndarray) -> float:
    """Of two works that were timed in turn: where the machine is slow in one round, it is slow for both."""
    return float(np.median(first / second))


def exponent(x: ArrayLike, costs: np.ndarray) -> float:
    """The slope of log cost in log x (sizes,), by least squares: costs are (sizes,), or (rounds, sizes), whose medians
    count.
    """
    medians = costs if costs.ndim == 1 else np.median(costs, axis=0)
    return float(np.polyfit(np.log(x), np.log(medians), 1)[0])


def share(hits: np.ndarray) -> Number:
    """A share with its exact binomial interval: a bootstrap of rows that all agree would have no width."""
    ends = scipy.stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="exact")
    return float(hits.mean()), float(ends.low), float(ends.high)
