"""Memorisation report: which training pictures samples copy, and whether they do so more often than held-out ones.

A copy has one training picture that is much nearer than any other (`metrics.near_copies`). Two training pictures that
are equal would both be near and hide it, so distances go to the training set without its duplicates. Real pictures that
were not trained on have a rate of their own: only what lies above it says that a model copies.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import features as feature_functions
from gendiff.metrics import near_copies, neighbours, proportions, validation
from gendiff.metrics.bootstrap import Interval
from gendiff.metrics.features import Features


@dataclass(frozen=True)
class Rates:
    """Near-copies among samples beside those among held-out pictures.

    Args:
        n: samples.
        rate: share of samples whose ratio is below the threshold, with Wilson's interval.
        held_out_rate: the same of held-out pictures, which is what a model that copies nothing would have; None without
            any.
        excess: rate minus held_out_rate, with Newcombe's interval: samples copy if its lower end is above 0. None as
            held_out_rate is.
    """

    n: int
    rate: Interval
    held_out_rate: Interval | None
    excess: Interval | None


@dataclass(frozen=True)
class MemorisationReport(Rates):
    """How near samples are to training pictures, beside how near held-out pictures are.

    Args:
        nearest: (n, k) indices of the training pictures nearest to each sample, nearest first, one for each set of
            equal pictures.
        distances: (n, k) to them, Euclidean in the features.
        ratios: (n,) nearest over second-nearest distance, in [0, 1].
        pairs: (c, 2) samples with their nearest training picture, those that stand out most first: the smallest ratio,
            then the smallest distance. They may be above the threshold.
        duplicates: (p, 2) training pictures that equal an earlier one, and that one.
        near_duplicates: (q, 2) training pictures, one for each set of equal ones, whose nearest other one is nearer by
            the threshold than any third, and that one. They hide copies: a copy of one is near to both.
        classes: by label the rates of its samples and of its held-out pictures; empty without labels.
        threshold: of the ratio.
    """

    nearest: np.ndarray
    distances: np.ndarray
    ratios: np.ndarray
    pairs: np.ndarray
    duplicates: np.ndarray
    near_duplicates: np.ndarray
    classes: dict[int, Rates]
    threshold: float

    @property
    def copies(self) -> Int64[np.ndarray, "copies"]:
        """Indices of the samples whose ratio is below the threshold, the smallest ratio first."""
        order = np.argsort(self.ratios, kind="stable")
        return order[self.ratios[order] < self.threshold]


def memorisation_report(
    samples: Shaped[ArrayLike, "n *shape"],
    train: Shaped[ArrayLike, "m *shape"],
    held_out: Shaped[ArrayLike, "h *shape"] | None,
    *,
    features: Features = feature_functions.pixels,
    threshold: int | float = near_copies.THRESHOLD,
    copies: int = 20,
    k: int = 2,
    labels: Shaped[ArrayLike, "n"] | None = None,
    held_out_labels: Shaped[ArrayLike, "h"] | None = None,
    confidence: float = 0.95,
    batch: int = 500,
) -> MemorisationReport:
    """Compare samples with their nearest training pictures, and with what held-out pictures show.

    Distances come in blocks. For features (·, d) it holds at most 24 (n + m + h) d bytes of rows and 8,500 m bytes
    of distances: for 50,000 samples and 50,000 training pictures of 224 features 0.6 GB and 0.4 GB, besides the
    pictures. Time grows with (n + m + h) m d.

    Args:
        samples: (n, …).
        train: (m, …), at least 3 of them different in their features.
        held_out: (h, …) pictures of the same source that were not trained on; None leaves what depends on them unknown.
        features: images (b, …) -> (b, d).
        threshold: in (0, 1].
        copies: pairs to list in `pairs` at most, >= 0.
        k: nearest training pictures per sample, >= 2.
        labels: (n,) classes 0, 1, … of the samples, for rates per class; None has none.
        held_out_labels: (h,) those of the held-out pictures.
        confidence: of the intervals, in (0, 1).
        batch: images per call of `features`.

    Raises:
        ValueError: with the counts, for fewer than 3 or than k different training pictures, sets whose features differ
            in number, features that are not finite, labels that do not fit, and numbers out of range.

    References:
        Yoon et al., 2023; Wilson, 1927; Newcombe, 1998, method 10 (all from memory).
    """
    checks.in_range("threshold", threshold, 0.0, 1.0, open_low=True)
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    checks.integer("copies", copies, 0)
    checks.integer("k", k, 2)
    sampled, known = (feature_functions.extract(features, images, batch=batch) for images in (samples, train))
    fresh = None if held_out is None else feature_functions.extract(features, held_out, batch=batch)
    for name, rows in (("samples", sampled), ("held_out", fresh)):
        if rows is not None:
            validation.as_feature_pair(name, rows, "train", known, at_least=1)
    groups = _groups(labels, len(sampled), held_out_labels, None if fresh is None else len(fresh))
    first, duplicates = near_copies.distinct(known)
    if len(first) < max(3, k):
        raise ValueError(f"train has {len(first)} different pictures of {len(known)}: at least {max(3, k)} are needed")
    distinct = known[first]
    distances, nearest = neighbours.nearest(sampled, distinct, k)
    ratios = distances[:, 0] / distances[:, 1]
    hits, held_out_hits = ratios < threshold, None if fresh is None else _ratios(fresh, distinct) < threshold
    within, twins = neighbours.nearest(distinct, distinct, 2, others=True)
    alike = np.flatnonzero(within[:, 0] < threshold * within[:, 1])
    order = np.lexsort((distances[:, 0], ratios))[:copies]
    return MemorisationReport(
        **vars(_rates(hits, held_out_hits, confidence)),
        nearest=first[nearest],
        distances=distances,
        ratios=ratios,
        pairs=np.stack([order, first[nearest[order, 0]]], axis=-1),
        duplicates=duplicates,
        near_duplicates=np.stack([first[alike], first[twins[alike, 0]]], axis=-1),
        classes={
            label: _rates(hits[rows], None if held_out_hits is None else held_out_hits[beside], confidence)
            for label, (rows, beside) in groups.items()
        },
        threshold=float(threshold),
    )


def _ratios(rows: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    lengths, _ = neighbours.nearest(rows, distinct, 2)
    ratios: np.ndarray = lengths[:, 0] / lengths[:, 1]
    return ratios


def _rates(hits: np.ndarray, held_out: np.ndarray | None, confidence: float) -> Rates:
    rate = proportions.share(hits, confidence=confidence)
    beside = None if held_out is None or not len(held_out) else proportions.share(held_out, confidence=confidence)
    return Rates(len(hits), rate, beside, None if beside is None else proportions.difference(rate, beside))


def _groups(
    labels: ArrayLike | None, n: int, held_out: ArrayLike | None, h: int | None
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The indices of samples and of held-out pictures of each label of the samples, in ascending order."""
    if labels is None:
        if held_out is not None:
            raise ValueError("held_out_labels needs labels, the classes of the samples")
        return {}
    if (held_out is None) != (h is None):
        raise ValueError(
            "labels and held-out pictures need held_out_labels, and held_out_labels needs held-out pictures"
        )
    ids = validation.as_labels("labels", labels, n)
    beside = (
        np.zeros(0, np.int64) if held_out is None or h is None else validation.as_labels("held_out_labels", held_out, h)
    )
    return {int(label): (np.flatnonzero(ids == label), np.flatnonzero(beside == label)) for label in np.unique(ids)}
