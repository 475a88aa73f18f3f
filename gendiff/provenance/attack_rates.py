"""Rates of a membership attack's scores: true positives at a false positive rate, and the area under the ROC curve."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike


@dataclass(frozen=True)
class TruePositiveRate:
    """The share of members above a threshold that only few non-members pass.

    Args:
        value: the share, in [0, 1].
        low: lower end of its Clopper-Pearson interval. The interval is that of the members; the threshold is taken as
            given.
        high: upper end.
        fpr: the false positive rate that was allowed.
        reached: that of these non-members, at most `fpr`.
        threshold: who scores above it is called a member.
        resolution: 1 / number of non-members, the least false positive rate that they show.
    """

    value: float
    low: float
    high: float
    fpr: float
    reached: float
    threshold: float
    resolution: float

    @property
    def number(self) -> tuple[float, float, float]:
        """(value, low, high)."""
        return self.value, self.low, self.high


def tpr_at_fpr(
    members: Shaped[ArrayLike, "n"], non_members: Shaped[ArrayLike, "m"], fpr: float, *, confidence: float = 0.95
) -> TruePositiveRate:
    """Find how many members score above all but a share of the non-members.

    Scores that tie with the threshold are called non-members on both sides, so ties never help. Without any signal, the
    expected share is (k + 1) / (m + 1) for the k = ⌊fpr · m⌋ allowed alarms, a little above fpr.

    Args:
        members: (n,) scores of members; higher means more like a member.
        non_members: (m,) scores of others.
        fpr: the false positive rate, in [1 / m, 1).
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: for a rate that is finer than 1 / m, with the m that it needs, and for scores that are none.

    References:
        Clopper & Pearson, 1934 (from memory).
    """
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    inner, outer = checked_scores("members", members), checked_scores("non_members", non_members)
    check_resolution(fpr, len(outer))
    allowed = int(np.floor(fpr * len(outer) + 1e-9))
    threshold = np.sort(outer)[::-1][allowed]
    hits = int(np.sum(inner > threshold))
    low, high = _clopper_pearson(hits, len(inner), confidence)
    reached = float(np.mean(outer > threshold))
    return TruePositiveRate(hits / len(inner), low, high, float(fpr), reached, float(threshold), 1.0 / len(outer))


def check_resolution(fpr: float, non_members: int) -> None:
    """Raise ValueError unless so many non-members resolve the false positive rate."""
    checks.in_range("fpr", fpr, 0.0, 1.0, open_low=True, open_high=True)
    if fpr * non_members < 1 - 1e-9:
        raise ValueError(
            f"fpr = {fpr:g} is finer than the 1 / {non_members} = {1 / non_members:.3g} that {non_members} non-members "
            f"resolve: give at least {int(np.ceil(1 / fpr - 1e-9))} of them, or a larger rate"
        )


def auc(members: Shaped[ArrayLike, "n"], non_members: Shaped[ArrayLike, "m"]) -> float:
    """Measure the chance that a member scores above a non-member, where a tie counts one half.

    Args:
        members: (n,) scores.
        non_members: (m,) scores.

    Raises:
        ValueError: for scores that are none.

    References:
        Mann & Whitney, 1947 (from memory).
    """
    inner, outer = checked_scores("members", members), checked_scores("non_members", non_members)
    ranks = scipy.stats.rankdata(np.concatenate([inner, outer]))
    return float((ranks[: len(inner)].mean() - (len(inner) + 1) / 2) / len(outer))


def checked_scores(name: str, values: ArrayLike, kind: str = "scores") -> np.ndarray:
    """Return the numbers (n,) in float64; ValueError for none, for another shape and for NaN."""
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise ValueError(f"{name} must be (n,) {kind}, at least one and none of them NaN, got shape {scores.shape}")
    return scores


def _clopper_pearson(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """The interval by quantiles of beta distributions; `scipy.stats.binomtest` takes a hundred times as long."""
    tail = (1 - confidence) / 2
    low = scipy.stats.beta.ppf(tail, hits, count - hits + 1) if hits else 0.0
    high = scipy.stats.beta.isf(tail, hits + 1, count - hits) if hits < count else 1.0
    return float(low), float(high)
