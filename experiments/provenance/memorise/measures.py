"""What is measured of the samples: shares of copies, times of memorisation, which pictures are regenerated, and agreement of halves."""

from collections.abc import Sequence

import numpy as np
import scipy.stats

from gendiff.metrics import neighbours
from gendiff.runs.reporting.verdicts import Number


def crossing(steps: Sequence[int], shares: np.ndarray, level: float) -> float:
    """The first step at which the share reaches the level, interpolated in the logarithm of steps; NaN where it never does."""
    reached = np.flatnonzero(shares >= level)
    if not len(reached):
        return float("nan")
    after = int(reached[0])
    if after == 0:
        return float(steps[0])
    part = (level - shares[after - 1]) / (shares[after] - shares[after - 1])
    return float(steps[after - 1] * (steps[after] / steps[after - 1]) ** part)


def power(sizes: Sequence[int], times: np.ndarray) -> Number:
    """Slope of log times (seeds, sizes) on log sizes by least squares, with the t interval of its residuals.

    A size that some seed has not memorised by the last step is left out whole: its time is known to be later, and those of the other
    seeds alone would be too early. NaN with fewer than two sizes.
    """
    known = np.isfinite(times).all(0)
    if known.sum() < 2:
        return (float("nan"),) * 3
    x = np.broadcast_to(np.log(np.array(sizes)[known]), times[:, known].shape).ravel()
    y = np.log(times[:, known]).ravel()
    if len(x) < 3:
        return (float(np.diff(y)[0] / np.diff(x)[0]), -np.inf, np.inf)
    found = scipy.stats.linregress(x, y)
    half = scipy.stats.t.ppf(0.975, len(x) - 2) * found.stderr
    return float(found.slope), float(found.slope - half), float(found.slope + half)


def regenerated(samples: np.ndarray, distinct: np.ndarray, ratio: float) -> np.ndarray:
    """(pictures,) of whether each picture (pictures, d) is the one that some sample (n, d) copies."""
    lengths, nearest = neighbours.nearest(samples.astype(np.float64), distinct.astype(np.float64), 2)
    return np.isin(np.arange(len(distinct)), nearest[lengths[:, 0] < ratio * lengths[:, 1], 0])


def agreement(first: np.ndarray, second: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(n,) cosines of samples (n, d) of two networks from the same noise, less those of shuffled pairs; both without the mean picture."""
    one, other = (_unit(each - mean[None]) for each in (first, second))
    shuffled = np.roll(other, 1, axis=0)  # pairs of independent noise
    return np.sum(one * other, 1) - np.sum(one * shuffled, 1)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
