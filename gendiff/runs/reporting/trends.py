"""Trends of a measure with a scale: Spearman's coefficient, its interval, its p-value, and Holm's correction of
many.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from gendiff.runs.reporting.verdicts import Number

SEED = 0
"""Of resamples and permutations."""


@dataclass(frozen=True)
class Trend:
    """rho: mean over the seeds of Spearman's coefficient, with its interval. each: of every seed. p: one-sided, in the
    direction `sign`.
    """

    rho: Number
    each: tuple[float, ...]
    p: float


def measure(
    scales: Sequence[float], tables: Sequence[np.ndarray], *, sign: int, resamples: int, permutations: int
) -> Trend:
    """The trend of the means of `tables`, one per seed, each (scales, rows) with the same rows at every scale.

    The interval is the percentile interval of a bootstrap of two levels: seeds are drawn again, and in each of them its
    rows, the same ones at every scale. p: the share of random orders of the scales, drawn for each seed by itself,
    whose mean coefficient is at least as far in the direction of `sign` (1 or -1). Measures that are the same at every
    scale have no trend: rho = 0.
    """
    rng = np.random.default_rng(SEED)
    means = np.stack([table.mean(axis=1) for table in tables])
    each = spearman(scales, means)
    statistics = np.empty(resamples)
    for number in range(resamples):
        chosen = [tables[seed] for seed in rng.integers(len(tables), size=len(tables))]
        rows = [table[:, rng.integers(table.shape[1], size=table.shape[1])] for table in chosen]
        statistics[number] = spearman(scales, np.stack([row.mean(axis=1) for row in rows])).mean()
    low, high = np.quantile(statistics, (0.025, 0.975))
    value = float(each.mean())
    shuffled = np.stack(
        [spearman(scales, rng.permuted(np.broadcast_to(mean, (permutations, len(mean))), axis=1)) for mean in means]
    )
    as_far = np.sum(sign * shuffled.mean(axis=0) >= sign * value - 1e-9)
    return Trend((value, float(low), float(high)), tuple(map(float, each)), float((1 + as_far) / (1 + permutations)))


def spearman(scales: Sequence[float], values: np.ndarray) -> np.ndarray:
    """(n,) the correlation of the ranks of (n, scales) values with those of the scales; ties share a rank; 0 where all
    are equal.
    """
    first = scipy.stats.rankdata(scales) - (len(scales) + 1) / 2
    ranks = scipy.stats.rankdata(values, axis=1) - (len(scales) + 1) / 2
    size = np.sqrt(np.sum(ranks**2, axis=1) * np.sum(first**2))
    rho = np.where(size > 0, ranks @ first / np.where(size > 0, size, 1.0), 0.0)
    return np.round(rho, 12)  # a threshold such as 0.8 is one of its values, which rounding errors must not miss


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down p-values, in the order given (Holm, 1979): the chance that any of the family is as small is
    bounded by each.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p, np.float64)[order] * (len(order) - np.arange(len(order))))
    return np.minimum(stepped, 1.0)[np.argsort(order)]
