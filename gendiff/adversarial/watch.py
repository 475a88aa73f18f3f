"""A watch for mode collapse: do a generator's samples differ as real data do, and reach the known modes?

Losses say nothing about collapse. Two measures do, at any step and without training anything: how far two samples are
apart on average, beside two real ones, and how many modes the samples reach.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import features, modes, validation
from gendiff.metrics.modes import ModeReport

COLLAPSED = "collapsed"
SPREAD = "spread"
NOT_FINITE = "not finite"
VERDICTS = (SPREAD, COLLAPSED, NOT_FINITE)


@dataclass(frozen=True)
class CollapseReport:
    """The measures of one set of samples, and the verdict.

    Args:
        verdict: "spread", "collapsed", or "not finite" where a sample is NaN or infinite and nothing can be measured.
        pairwise_distance: mean Euclidean distance of two samples; None where samples are not finite.
        ratio: that to the mean distance of two real rows, 1 for exact samples; None without real data.
        modes: how samples spread over the known modes; None where none are known.
        reasons: one sentence per measure that fell below its share; empty unless the verdict is "collapsed".
    """

    verdict: str
    pairwise_distance: float | None
    ratio: float | None
    modes: ModeReport | None
    reasons: tuple[str, ...] = ()

    @property
    def collapsed(self) -> bool:
        """Whether the verdict is "collapsed"."""
        return self.verdict == COLLAPSED


def report(
    samples: Shaped[ArrayLike, "n *shape"],
    reference: Shaped[ArrayLike, "m *shape"] | None = None,
    centres: Shaped[ArrayLike, "k d"] | None = None,
    std: int | float | None = None,
    *,
    labels: Shaped[ArrayLike, "n"] | None = None,
    classes: int | None = None,
    least_ratio: int | float = 0.5,
    least_modes: int | float = 0.5,
    fair_share: int | float = modes.FAIR_SHARE,
) -> CollapseReport:
    """Judge whether a generator has collapsed, from samples alone. Also known as: mode collapse.

    It needs real data, or known modes, or both. Modes are known by their centres, or by the classes that a classifier
    sees. A generator that lost some of many modes keeps its mean distance, so the ratio alone finds only a strong
    collapse. A large ratio is no praise: noise is far apart too. It holds n² / 2 and m² / 2 distances, so a thousand
    rows of each are enough.

    Args:
        samples: (n, …), n >= 2.
        reference: (m, …) real data, m >= 2, such as 1,000 rows.
        centres: (k, d) of the modes, for samples (n, d).
        std: of a mode, with `centres`.
        labels: (n,) what a classifier sees in the samples, in place of `centres`.
        classes: how many classes it knows, with `labels`.
        least_ratio: "collapsed" below this share of the real mean distance, in (0, 1].
        least_modes: "collapsed" below this share of the modes that as many exact samples reach, in (0, 1].
        fair_share: as of `metrics.modes.mode_report`.

    Raises:
        ValueError: without real data and modes, for half of a pair of arguments, samples of another shape, real data
            that are not finite or all equal, and numbers out of range.
    """
    for name, value in (("least_ratio", least_ratio), ("least_modes", least_modes)):
        checks.in_range(name, value, 0.0, 1.0, open_low=True)
    _check_given(reference, (centres, std), (labels, classes))
    rows = np.asarray(samples)
    if reference is not None and np.shape(reference)[1:] != rows.shape[1:]:
        raise ValueError(
            f"samples of shape {rows.shape[1:]} do not compare with a reference of shape {np.shape(reference)[1:]}"
        )
    if not np.all(np.isfinite(rows)):
        return CollapseReport(NOT_FINITE, None, None, None)
    distance, ratio = _mean_distance("samples", rows), None
    if reference is not None:
        real = _mean_distance("reference", reference)
        if real == 0:
            raise ValueError("reference holds equal rows only: no distance compares with 0")
        ratio = distance / real
    counted = _modes(rows, centres, std, labels, classes, fair_share)
    # as many exact samples cover fewer modes than there are, where samples are few
    reachable = 0.0 if counted is None else modes.expected_modes(len(rows), counted.known, fair_share=fair_share)
    reasons = tuple(_reasons(ratio, least_ratio, counted, least_modes, reachable))
    return CollapseReport(COLLAPSED if reasons else SPREAD, distance, ratio, counted, reasons)


def pairwise_distance(rows: Shaped[ArrayLike, "n *shape"]) -> float:
    """Compute the mean Euclidean distance over all pairs of different rows.

    Args:
        rows: (n, …), n >= 2. Of n rows it holds n² / 2 distances.

    Raises:
        ValueError: for fewer than 2 rows, and rows that are not finite.
    """
    return _mean_distance("rows", rows)


def _mean_distance(name: str, rows: ArrayLike) -> float:
    return float(scipy.spatial.distance.pdist(features.pixels(validation.as_images(name, rows))).mean())


def _check_given(reference: object, by_centres: tuple[object, object], by_labels: tuple[object, object]) -> None:
    for names, pair in ((("centres", "std"), by_centres), (("labels", "classes"), by_labels)):
        if (pair[0] is None) != (pair[1] is None):
            raise ValueError(f"{names[0]} and {names[1]} belong together: give both or neither")
    if by_centres[0] is not None and by_labels[0] is not None:
        raise ValueError("modes are known by centres or by labels: give one of them")
    if reference is None and by_centres[0] is None and by_labels[0] is None:
        raise ValueError(
            "samples alone do not show a collapse: give a reference of real data, centres with std, or labels with "
            "classes"
        )


def _modes(
    rows: np.ndarray,
    centres: ArrayLike | None,
    std: int | float | None,
    labels: ArrayLike | None,
    classes: int | None,
    fair_share: int | float,
) -> ModeReport | None:
    if centres is not None and std is not None:
        return modes.mode_report(rows, centres, std, fair_share=fair_share)
    if labels is None or classes is None:
        return None
    if np.shape(labels) != rows.shape[:1]:
        raise ValueError(f"labels has shape {np.shape(labels)}, but {len(rows)} samples need ({len(rows)},)")
    return modes.classifier_modes(labels, classes, fair_share=fair_share)


def _reasons(
    ratio: float | None,
    least_ratio: int | float,
    counted: ModeReport | None,
    least_modes: int | float,
    reachable: float,
) -> list[str]:
    reasons = []
    if ratio is not None and ratio < least_ratio:
        reasons.append(f"two samples are {ratio:.3g} times as far apart as two real rows, less than {least_ratio:g}")
    if counted is not None and counted.modes < math.ceil(least_modes * reachable - 1e-9):
        reached = f"samples reach {counted.modes} of {counted.known} modes"
        reasons.append(
            f"{reached}, less than a share of {least_modes:g} of the {reachable:.3g} that as many exact samples reach"
        )
    return reasons
