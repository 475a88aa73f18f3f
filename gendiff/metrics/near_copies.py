"""Near-copies of training data: samples much nearer to one training row than to any other.

The ratio of the two distances is that of Yoon et al. (2023), with a wider threshold. A fresh sample has several training rows at about
one distance; a copy has one that stands out. Real held-out data has a rate of its own, which belongs beside every value.
"""

from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import features as feature_functions
from gendiff.metrics import neighbours, validation
from gendiff.metrics.bootstrap import Interval
from gendiff.metrics.features import Features

THRESHOLD = 0.6


@dataclass(frozen=True)
class MemorisationReport:
    """How near samples are to training pictures, beside how near held-out pictures are.

    Args:
        nearest: (n, k) indices of the training pictures nearest to each sample, nearest first, one for each set of equal pictures.
        distances: (n, k) to them, Euclidean in the features.
        ratios: (n,) nearest over second-nearest distance, in [0, 1].
        rate: share of samples whose ratio is below the threshold, with Wilson's interval.
        held_out_rate: the same of held-out pictures: what a model that copies nothing would have.
        excess: rate minus held_out_rate, with Newcombe's interval. Samples copy if its lower end is above 0.
        duplicates: (p, 2) training pictures that equal an earlier one, and that one.
        near_duplicates: (q, 2) training pictures, one for each set of equal ones, whose nearest other one is nearer by the threshold than
            any third, and that one. They hide copies: a copy of one is near to both.
        threshold: of the ratio.
    """

    nearest: np.ndarray
    distances: np.ndarray
    ratios: np.ndarray
    rate: Interval
    held_out_rate: Interval
    excess: Interval
    duplicates: np.ndarray
    near_duplicates: np.ndarray
    threshold: float

    @property
    def copies(self) -> Int64[np.ndarray, "copies"]:
        """Indices of the samples whose ratio is below the threshold, the smallest ratio first."""
        order = np.argsort(self.ratios, kind="stable")
        return order[self.ratios[order] < self.threshold]


def memorisation_report(
    samples: Shaped[ArrayLike, "n *shape"],
    train: Shaped[ArrayLike, "m *shape"],
    held_out: Shaped[ArrayLike, "h *shape"],
    *,
    features: Features = feature_functions.pixels,
    threshold: int | float = THRESHOLD,
    k: int = 2,
    confidence: float = 0.95,
    batch: int = 500,
) -> MemorisationReport:
    """Compare samples with their nearest training pictures, and with what held-out pictures show.

    Distances come in blocks. For features (·, d) it holds at most 24 (n + m + h) d bytes of rows and 8,500 m bytes of distances: for
    50,000 samples and 50,000 training pictures of 224 features 0.6 GB and 0.4 GB, besides the pictures. Time grows with (n + m + h) m d.

    Args:
        samples: (n, …).
        train: (m, …), at least 3 of them different in their features.
        held_out: (h, …) pictures of the same source that were not trained on.
        features: images (b, …) -> (b, d).
        threshold: in (0, 1].
        k: nearest training pictures per sample, >= 2.
        confidence: of the intervals, in (0, 1).
        batch: images per call of `features`.

    Raises:
        ValueError: with the counts, for fewer than 3 or than k different training pictures, sets whose features differ in number, features
            that are not finite, and numbers out of range.

    References:
        Yoon et al., 2023; Wilson, 1927; Newcombe, 1998, method 10 (all from memory).
    """
    checks.in_range("threshold", threshold, 0.0, 1.0, open_low=True)
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    checks.integer("k", k, 2)
    drawn, known, fresh = (feature_functions.extract(features, images, batch=batch) for images in (samples, train, held_out))
    for name, rows in (("samples", drawn), ("held_out", fresh)):
        validation.as_feature_pair(name, rows, "train", known, at_least=1)
    first, duplicates = _distinct(known)
    if len(first) < max(3, k):
        raise ValueError(f"train has {len(first)} different pictures of {len(known)}: at least {max(3, k)} are needed")
    distinct = known[first]
    distances, nearest = neighbours.nearest(drawn, distinct, k)
    ratios = distances[:, 0] / distances[:, 1]
    held_out_lengths, _ = neighbours.nearest(fresh, distinct, 2)
    within, twins = neighbours.nearest(distinct, distinct, 2, others=True)
    alike = np.flatnonzero(within[:, 0] < threshold * within[:, 1])
    rate = _share(ratios < threshold, confidence)
    held_out_rate = _share(held_out_lengths[:, 0] / held_out_lengths[:, 1] < threshold, confidence)
    return MemorisationReport(
        nearest=first[nearest],
        distances=distances,
        ratios=ratios,
        rate=rate,
        held_out_rate=held_out_rate,
        excess=_difference(rate, held_out_rate),
        duplicates=duplicates,
        near_duplicates=np.stack([first[alike], first[twins[alike, 0]]], axis=-1),
        threshold=float(threshold),
    )


def rate(samples: Shaped[ArrayLike, "n d"], training: Shaped[ArrayLike, "m _"], *, threshold: int | float = THRESHOLD) -> float:
    """Measure the share of samples, in [0, 1], whose ratio is below `threshold`.

    Args:
        samples: (n, d).
        training: (m, d), at least 2 distinct rows.
        threshold: in (0, 1].

    Raises:
        ValueError: as `ratios` does.
    """
    checks.in_range("threshold", threshold, 0.0, 1.0, open_low=True)
    return float(np.mean(ratios(samples, training) < threshold))


def ratios(samples: Shaped[ArrayLike, "n d"], training: Shaped[ArrayLike, "m _"]) -> Float64[np.ndarray, "n"]:
    """Divide nearest by second-nearest Euclidean distance to the training rows without their duplicates, in [0, 1].

    Args:
        samples: (n, d).
        training: (m, d), at least 2 distinct rows.

    Raises:
        ValueError: for fewer than 2 distinct training rows, different numbers of features, and features that are not finite.

    References:
        Yoon et al., 2023 (from memory), with a wider threshold.
    """
    rows, known = validation.as_feature_pair("samples", samples, "training", training, at_least=1)
    first, _ = _distinct(known)
    if len(first) < 2:
        raise ValueError(f"training has {len(first)} distinct row of {len(known)}: at least 2 are needed")
    lengths, _ = neighbours.nearest(rows, known[first], 2)
    return lengths[:, 0] / lengths[:, 1]


def _distinct(rows: Float64[np.ndarray, "m d"]) -> tuple[Int64[np.ndarray, "distinct"], Int64[np.ndarray, "p 2"]]:
    """Indices of the first of equal rows, and pairs (a later one, the first): a duplicate would hide every copy of its twin."""
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    original = first[inverse.reshape(-1)]
    later = np.flatnonzero(original != np.arange(len(rows)))
    return np.sort(first), np.stack([later, original[later]], axis=-1)


def _share(hits: np.ndarray, confidence: float) -> Interval:
    """A share with Wilson's interval, which is wider than nothing also at 0 and 1."""
    counted = scipy.stats.binomtest(int(hits.sum()), len(hits))
    ends = counted.proportion_ci(confidence, method="wilson")
    return Interval(float(hits.mean()), float(ends.low), float(ends.high))


def _difference(first: Interval, second: Interval) -> Interval:
    """The difference of two shares with Newcombe's interval, from the ends of theirs."""
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, float(value - below), float(value + above))
