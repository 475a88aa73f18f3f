"""Mode coverage: how many modes samples reach, how evenly, and how many samples lie near a mode.

Also known as: mode collapse, where few modes are reached.

A rule by which one good sample covers a mode is nearly free: 10,000 uniform points in [-5, 5]² reach nearly all 25
modes of a grid with 1.8 % good samples. Here a mode counts when it has at least a part of its fair share, n / k, in
good samples.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Shaped

from gendiff.core import checks
from gendiff.core.types import NO_LABEL, ArrayLike
from gendiff.metrics import neighbours, validation

FAIR_SHARE = 0.1
"""Part of n / k good samples from which on a mode counts."""


@dataclass(frozen=True)
class ModeReport:
    """The distribution of samples over known modes.

    The last three are of the counts as shares of the good samples, in nats. Samples that are far from all modes do not
    enter them, so they belong beside `good`. Without a good sample they are those of samples that all lie in one mode.

    Args:
        modes: how many modes count, 0 … known.
        known: all modes, k.
        good: share of good samples, in [0, 1].
        counts: (k,) good samples of each mode.
        entropy: of the counts, 0 … log k.
        kl: Kullback-Leibler divergence of the counts from the uniform law, log k - entropy.
        jsd: Jensen-Shannon divergence of the counts and the uniform law, 0 … log 2.
    """

    modes: int
    known: int
    good: float
    counts: np.ndarray
    entropy: float
    kl: float
    jsd: float

    @property
    def touched(self) -> int:
        """The number of modes with at least one good sample, a rule that noise can pass."""
        return int(np.count_nonzero(self.counts))


def mode_report(
    samples: Shaped[ArrayLike, "n d"],
    centres: Shaped[ArrayLike, "k _"],
    std: int | float,
    *,
    good: int | float = 3.0,
    fair_share: int | float = FAIR_SHARE,
) -> ModeReport:
    """Count the samples near each centre, by their nearest centre.

    Args:
        samples: (n, d).
        centres: (k, d) of the modes; of two that are equally near, the first counts.
        std: standard deviation of a mode along each axis, > 0.
        good: a sample is good within this many standard deviations of its nearest centre, > 0. In two dimensions 3 hold
            a share of 1 - exp(-4.5) = 0.989 of exact samples.
        fair_share: a mode counts with at least this part of n / k good samples, in (0, 1].

    Raises:
        ValueError: for rows of different sizes, rows that are not finite, and numbers out of range.

    References:
        Lin et al., 2018, section 4.1, whose rule for a mode is one good sample.
    """
    checks.in_range("std", std, 0.0, math.inf, open_low=True, open_high=True)
    checks.in_range("good", good, 0.0, math.inf, open_low=True, open_high=True)
    rows, means = validation.as_feature_pair("samples", samples, "centres", centres, at_least=1)
    nearest, near = np.empty(len(rows), np.int64), np.empty(len(rows), bool)
    for part, lengths in neighbours.distances(rows, means):
        nearest[part] = lengths.argmin(axis=1)
        near[part] = lengths.min(axis=1) <= good * std
    return _report(nearest[near], len(rows), len(means), fair_share)


def classifier_modes(
    answers: Shaped[ArrayLike, "n *k"], k: int, *, confident: int | float = 0.0, fair_share: int | float = FAIR_SHARE
) -> ModeReport:
    """Count samples by the class that a classifier predicts: the modes of images.

    Args:
        answers: (n,) integer labels 0 … k - 1, with NO_LABEL for a sample that shows no class and is not good. Or (n,
            k) floating probabilities, of which the largest names the class.
        k: how many classes there are, >= 1.
        confident: a sample is good if its largest probability is at least this, in [0, 1]. Labels have none, and refuse
            it.
        fair_share: as of `mode_report`.

    Raises:
        TypeError: for labels that are no integers.
        ValueError: for another shape, labels out of range, rows that are no probabilities, and numbers out of range.
    """
    checks.integer("k", k, 1)
    checks.in_range("confident", confident, 0.0, 1.0)
    if np.ndim(answers) == 2:
        shares = validation.as_probabilities("answers", answers, k)
        predicted = shares.argmax(axis=1)
        return _report(predicted[shares.max(axis=1) >= confident], len(shares), k, fair_share)
    labels = np.asarray(answers)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(
            f"answers must be labels (n,) or probabilities (n, {k}) of at least one sample, got shape {labels.shape}"
        )
    if confident:
        raise ValueError(
            f"confident = {confident:g} needs probabilities (n, {k}), but answers are labels; mark such samples by "
            "NO_LABEL"
        )
    checks.ids("answers", labels, k, also=NO_LABEL)
    return _report(labels[labels != NO_LABEL], len(labels), k, fair_share)


def least_count(n: int, k: int, fair_share: int | float = FAIR_SHARE) -> int:
    """Return how many of n samples a mode of k needs so that it counts: fair_share · n / k, rounded up, and at least 1.

    Args:
        n: samples, >= 1.
        k: modes, >= 1.
        fair_share: in (0, 1].

    Raises:
        ValueError: for numbers out of range.
    """
    checks.integer("n", n, 1)
    checks.integer("k", k, 1)
    checks.in_range("fair_share", fair_share, 0.0, 1.0, open_low=True)
    return max(1, math.ceil(fair_share * n / k - 1e-9))  # 0.1 · n is not always what it should be


def expected_modes(n: int, k: int, *, good: int | float = 1.0, fair_share: int | float = FAIR_SHARE) -> float:
    """Compute how many modes n samples of the exact law cover on average; for small n / k, fewer than k.

    Args:
        n: samples, >= 1.
        k: equally likely modes, >= 1.
        good: chance that an exact sample is good, in (0, 1].
        fair_share: as of `mode_report`.

    Raises:
        ValueError: for numbers out of range.
    """
    checks.in_range("good", good, 0.0, 1.0, open_low=True)
    return float(k * scipy.stats.binom.sf(least_count(n, k, fair_share) - 1, n, good / k))


def _report(of_good: np.ndarray, n: int, k: int, fair_share: int | float) -> ModeReport:
    """From the modes (good samples,) of the good ones among n samples."""
    counts = np.bincount(of_good, minlength=k)
    uniform, one = np.full(k, 1 / k), (np.arange(k) == 0).astype(np.float64)
    shares = counts / len(of_good) if len(of_good) else one
    entropy, middle = float(scipy.stats.entropy(shares)), (shares + uniform) / 2
    return ModeReport(
        modes=int(np.sum(counts >= least_count(n, k, fair_share))),
        known=k,
        good=len(of_good) / n,
        counts=counts,
        entropy=entropy,
        kl=max(0.0, math.log(k) - entropy),
        jsd=max(0.0, float(scipy.stats.entropy(shares, middle) + scipy.stats.entropy(uniform, middle)) / 2),
    )
