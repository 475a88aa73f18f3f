"""Support size: how many different samples a generator has, from duplicates within batches (birthday paradox).

Among s draws from N equally likely outcomes, two are equal with a probability near 1 - exp(-s² / 2N): one half at about
1.2 √N draws. So the share of batches that hold a duplicate says how large N is, long before all N have been seen. Where
outcomes are not equally likely, duplicates are more frequent, so the N that has the same share is at most the number of
outcomes.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float64, Int64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import proportions, validation
from gendiff.metrics.bootstrap import Interval


@dataclass(frozen=True)
class SupportSize:
    """The estimated number of different samples, with its interval.

    Args:
        batch: samples per batch, s.
        batches: how many there were.
        duplicates: share of batches that hold a duplicate, with Wilson's interval.
        size: the number N of equally likely outcomes that has this share, with the interval that follows from the
            share's. It is inf where no batch has a duplicate, and s - 1 where all have: then take another s.
    """

    batch: int
    batches: int
    duplicates: Interval
    size: Interval


def measure(
    samples: Shaped[ArrayLike, "n d"], batch: int, *, distance: int | float = 0.0, confidence: int | float = 0.95
) -> SupportSize:
    """Estimate the number of different samples from the share of batches that hold a duplicate.

    With n samples, the interval is narrowest where a little more than half of the batches hold one. For a curve,
    measure at several sizes of batches.

    Args:
        samples: (n, d) independent draws, at least 2 batches of them; the last n mod batch are left out.
        batch: samples per batch, >= 2.
        distance: two samples at most this far apart are duplicates, >= 0; 0 asks for equal rows. Continuous data need a
            distance at which real data show few: measure those beside, and look at `closest_pairs`.
        confidence: of the intervals, in (0, 1).

    Raises:
        ValueError: for fewer than 2 batches, rows that are not finite, and numbers out of range.

    References:
        Arora & Zhang, 2017, section 2 (from memory). They look for the batch at which one half of the batches has a
        duplicate, and take its square. This is the same relation, solved for N exactly at any share.
    """
    hits = with_duplicates(samples, batch, distance=distance)
    share = proportions.share(hits, confidence=confidence)
    return SupportSize(
        batch, len(hits), share, Interval(*(uniform_size(p, batch) for p in (share.value, share.high, share.low)))
    )


def with_duplicates(
    samples: Shaped[ArrayLike, "n d"], batch: int, *, distance: int | float = 0.0
) -> Bool[np.ndarray, "batches"]:
    """Return which batches of `batch` consecutive rows hold two rows at most `distance` from each other.

    Args:
        samples: (n, d), at least 2 batches.
        batch: rows per batch, >= 2.
        distance: Euclidean, >= 0.

    Raises:
        ValueError: as `measure` does.
    """
    checks.integer("batch", batch, 2)
    checks.in_range("distance", distance, 0.0, math.inf, open_high=True)
    rows = validation.as_features("samples", samples)
    if len(rows) < 2 * batch:
        raise ValueError(f"samples has {len(rows)} rows, fewer than the {2 * batch} of two batches of {batch}")
    starts = range(0, len(rows) - batch + 1, batch)
    return np.array([scipy.spatial.distance.pdist(rows[start : start + batch]).min() <= distance for start in starts])


def duplicate_probability(size: int | float, batch: int) -> float:
    """Compute the probability of a duplicate among `batch` draws from `size` equally likely outcomes.

    It is 1 - Π (1 - i / N) over i < batch.

    Args:
        size: N, >= 1; it need not be whole.
        batch: >= 2.

    Raises:
        ValueError: for numbers out of range.
    """
    checks.in_range("size", size, 1.0, math.inf)
    checks.integer("batch", batch, 2)
    return -math.expm1(_log_all_different(size, batch))


def uniform_size(probability: int | float, batch: int) -> float:
    """Solve `duplicate_probability(N, batch) = probability` for N.

    Args:
        probability: in [0, 1]. 0 answers inf, and 1 answers batch - 1, the largest N that has it.
        batch: >= 2.

    Raises:
        ValueError: for numbers out of range.
    """
    checks.in_range("probability", probability, 0.0, 1.0)
    checks.integer("batch", batch, 2)
    if probability == 0:
        return math.inf
    # twice where the union bound has the probability
    least, most = (batch - 1) * (1 + 1e-9), batch * (batch - 1) / probability
    if probability >= duplicate_probability(least, batch):
        return float(batch - 1)
    target = math.log1p(-probability)
    return float(scipy.optimize.brentq(lambda size: _log_all_different(size, batch) - target, least, most))


def closest_pairs(
    samples: Shaped[ArrayLike, "n d"], count: int = 20
) -> tuple[Int64[np.ndarray, "count 2"], Float64[np.ndarray, "count"]]:
    """Find the most similar pairs of rows, so that a person can judge which are duplicates.

    It holds n² / 2 distances with their pairs: 2,000 rows need 0.1 GB.

    Args:
        samples: (n, d), such as one batch.
        count: how many pairs, 1 … n (n - 1) / 2.

    Returns:
        Pairs of rows, the closest first, and their Euclidean distances.

    Raises:
        ValueError: for a count out of range and rows that are not finite.

    References:
        Arora & Zhang, 2017, section 3 (from memory): of the 20 closest pairs in pixels, people say which are
        duplicates.
    """
    rows = validation.as_features("samples", samples)
    checks.integer("count", count, 1, len(rows) * (len(rows) - 1) // 2)
    lengths = scipy.spatial.distance.pdist(rows)
    order = np.argsort(lengths, kind="stable")[:count]
    return np.stack(np.triu_indices(len(rows), 1), axis=-1)[order], lengths[order]


def _log_all_different(size: int | float, batch: int) -> float:
    """Log of the probability that all draws differ."""
    if size <= batch - 1:
        return -math.inf
    return float(np.sum(np.log1p(-np.arange(1, batch) / size)))
