"""The numbers of the editing experiment, each with an interval over the digits."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.diffusion.editing.problems import Problem
from gendiff.data import digits, scaling
from gendiff.metrics import classifier_accuracy
from gendiff.runs.reporting import trends
from gendiff.runs.reporting.intervals import interval
from gendiff.runs.reporting.verdicts import Number


@dataclasses.dataclass(frozen=True)
class Restoration:
    """One problem by one method: for each digit (n,) the square error, whether the judge reads it right, and the
    residual's square.

    first: images (n, 8, 8, 1), a single sample. single: the error of these; error: that of the mean of several.
    residual: the mean square of y - A x for the single one, not clipped.
    """

    first: np.ndarray
    single: np.ndarray
    error: np.ndarray
    right: np.ndarray
    residual: np.ndarray

    @property
    def exact(self) -> bool:
        """Whether no pixel differs: there is no error, hence no number of decibels."""
        return not self.single.any()


@dataclasses.dataclass(frozen=True)
class Edited:
    """What one network does to whole digits. Errors and distances (n,) are mean squares.

    trips: steps -> of DDIM's inversion and back. fresh: of samples from fresh noise. reversible: of reversible Heun and
        back.
    own, others: strength -> img2img against the digit it began from, and against another one. images: strength ->
        img2img.
    """

    trips: dict[int, np.ndarray]
    fresh: np.ndarray
    reversible: np.ndarray
    own: dict[float, np.ndarray]
    others: dict[float, np.ndarray]
    images: dict[float, np.ndarray]


class Examiner:
    """Measures restored images against the digits they were made from."""

    def __init__(self, split: digits.Split, truth: np.ndarray, labels: np.ndarray) -> None:
        self.truth, self._labels = truth, labels
        self._judge = classifier_accuracy.train(split.train_images, split.train_labels)

    def __call__(self, problem: Problem, restored: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Restoration]:
        """By method. The error is that of the mean of the samples; the judge reads the first, in the data's levels."""
        return {method: self._examined(problem, samples) for method, samples in restored.items()}

    def _examined(self, problem: Problem, samples: Sequence[np.ndarray]) -> Restoration:
        first, mean = samples[0], np.mean([np.clip(sample, -1, 1) for sample in samples], axis=0)
        residual = square_error(np.asarray(problem.operator.forward(first), np.float64), problem.measured)
        single, averaged = (problem.errors(images, self.truth) for images in (first, mean))
        rounded = np.asarray(scaling.round_to_levels(first.astype(np.float32), digits.LEVELS))
        right = classifier_accuracy.correct(self._judge, rounded, self._labels).astype(np.float64)
        return Restoration(first, single, averaged, right, residual)


def decibels(error: np.ndarray) -> Number:
    """PSNR of the mean square error (n,) over all digits; one by one it would be infinite for a digit that is met
    exactly.
    """
    return interval(_psnr, error, paired=True)


def gain(ours: np.ndarray, rival: np.ndarray) -> Number:
    """How much lower the mean square error (n,) is than the rival's, in dB, paired by digit."""
    return interval(lambda one, other: _psnr(one) - _psnr(other), ours, rival, paired=True)


def share(right: np.ndarray) -> Number:
    """The mean of (n,)."""
    return interval(np.mean, right, paired=True)


def slope(errors: Mapping[int, np.ndarray]) -> Number:
    """Of the log of the root mean square error over all digits on the log number of steps, by least squares; errors:
    steps -> (n,).
    """
    steps = np.log(list(errors))

    def fitted(*squares: np.ndarray) -> float:
        return float(np.polyfit(steps, [0.5 * np.log(np.mean(each)) for each in squares], 1)[0])

    return interval(fitted, *errors.values(), paired=True)


def times(error: np.ndarray, other: np.ndarray) -> Number:
    """The root mean square error of the first (n,) in multiples of that of the other."""
    return interval(lambda one, two: float(np.sqrt(np.mean(one) / np.mean(two))), error, other, paired=True)


def rank_correlation(strengths: tuple[float, ...], distances: np.ndarray) -> Number:
    """The mean over digits of Spearman's correlation of strength (s,) and distance (s, n)."""
    return interval(np.mean, trends.spearman(strengths, distances.T), paired=True)


def square_error(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,), not clipped."""
    return np.mean(np.square(images - truth, dtype=np.float64).reshape(len(truth), -1), axis=1)


def _psnr(error: np.ndarray) -> float:
    return float(10 * np.log10(4 / np.mean(error)))
