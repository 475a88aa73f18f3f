"""Bootstrap intervals: how far a statistic moves when its rows are drawn again (Efron, 1979; the percentile interval).

The numbers are those of `scipy.stats.bootstrap`, to rounding. It draws entries along an axis rather than whole rows of any shape, and its
general machinery takes six times as long for small statistics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gendiff.core import checks


@dataclass(frozen=True)
class Interval:
    """A statistic with its percentile interval.

    Args:
        value: the statistic of the rows themselves.
        low: the lower end.
        high: the upper end.
    """

    value: float
    low: float
    high: float

    @property
    def number(self) -> tuple[float, float, float]:
        """(value, low, high)."""
        return self.value, self.low, self.high


def interval(
    rng: np.random.Generator,
    statistic: Callable[..., Any],
    *rows: Any,
    paired: bool = True,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Compute the percentile interval of `statistic(*rows)` over draws of the rows with replacement.

    Args:
        rng: decides the draws.
        statistic: the arrays -> one finite number.
        *rows: arrays (n, …), n >= 2; rows are drawn whole.
        paired: the arrays are columns of one table, and each draw takes the same rows of all; otherwise each array is drawn by itself.
        resamples: how many draws, >= 2.
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: for no array, fewer than 2 rows, paired arrays of different lengths, and a statistic that is not one finite number.
    """
    checks.integer("resamples", resamples, 2)
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    tables = [np.asarray(array) for array in rows]
    lengths = [len(table) if table.ndim else 0 for table in tables]
    if not tables or min(lengths) < 2:
        raise ValueError(f"a bootstrap needs arrays of at least 2 rows, got {lengths}")
    if paired and len(set(lengths)) > 1:
        raise ValueError(f"paired arrays must have equally many rows, got {lengths}; pass paired=False to draw each by itself")
    value = _number(statistic, tables)
    resampled = [_number(statistic, _resample(rng, tables, paired)) for _ in range(resamples)]
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def _resample(rng: np.random.Generator, tables: list[np.ndarray], paired: bool) -> list[np.ndarray]:
    if paired:
        index = rng.integers(len(tables[0]), size=len(tables[0]))
        return [table[index] for table in tables]
    return [table[rng.integers(len(table), size=len(table))] for table in tables]


def _number(statistic: Callable[..., Any], tables: list[np.ndarray]) -> float:
    value = np.asarray(statistic(*tables), dtype=np.float64)
    if value.shape != () or not np.isfinite(value):
        raise ValueError(f"the statistic must return one finite number, got {value!r}")
    return float(value)
