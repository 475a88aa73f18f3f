"""Every measure of a set of images against the real digits, each number with its interval."""

import dataclasses
import functools
from typing import Any

import numpy as np

from gendiff.data import digits, scaling
from gendiff.data.digits import Split
from gendiff.metrics import (
    classifier_accuracy,
    features,
    frechet,
    kernel_distance,
    near_copies,
    precision_recall,
    subsampling,
)
from gendiff.metrics.classifier_accuracy import Judge
from gendiff.metrics.features import Features
from gendiff.runs.reporting.intervals import SEED, difference_of_means, interval, ratio_of_means, share
from gendiff.runs.reporting.verdicts import Number

WORDS = {
    "n": "n",
    "frechet": "Fréchet distance, in floors",
    "accuracy": "judge accuracy",
    "precision": "precision",
    "recall": "recall",
    "copies": "near-copies",
    "excess": "near-copies above the held-out digits' own rate",
    "kernel": "kernel distance",
}
"""What each measure is."""


@dataclasses.dataclass(frozen=True)
class MeasuredSet:
    """One set of `n` images. frechet: in floors, a floor being the distance of training digits. excess: near-copies
    above held-out ones.
    """

    n: int
    frechet: Number
    accuracy: Number
    precision: Number
    recall: Number
    copies: Number
    excess: Number
    kernel: Number
    distances: np.ndarray = dataclasses.field(repr=False)

    @property
    def measures(self) -> dict[str, Any]:
        """By the names of `WORDS`."""
        return {name: getattr(self, name) for name in WORDS}


class DigitsJudge:
    """The real digits, the classifier trained on them, and every measure of a set of images against them.

    split: the digits; None takes the written ones. classifier: one that learned from others; None trains it on them.
    rows: the features of all measures but the accuracy.
    """

    def __init__(
        self,
        draws: int,
        size: int,
        split: Split | None = None,
        classifier: Judge | None = None,
        rows: Features = features.pixels,
    ) -> None:
        self.split = split or digits.load()
        self._features = rows
        self._training = self._rows(self.split.train_images)
        self._draws, self._size = draws, min(size, len(self._training) - 1)
        self._held_out = self._rows(self.split.held_out_images)
        self._classifier = classifier or classifier_accuracy.train(self.split.train_images, self.split.train_labels)
        self._real_copies = near_copies.ratios(self._held_out, self._training) < near_copies.THRESHOLD
        floor = frechet.over_subsets(self._held_out, self._training, count=draws, size=self._size, seed=SEED)
        self.floor = subsampling.jackknifed(floor, rows=len(self._training), size=self._size)

    def measure(self, images: np.ndarray, labels: np.ndarray, *, rounded: bool = True) -> MeasuredSet:
        """Every number of one set of images, which are first rounded to the data's levels."""
        judged = np.asarray(scaling.round_to_levels(images, digits.LEVELS)) if rounded else images
        rows, rng = self._rows(judged), np.random.default_rng(SEED)
        size = min(self._size, len(rows) - 1)
        options: dict[str, Any] = {"count": self._draws, "size": size, "seed": SEED}
        spread = functools.partial(subsampling.jackknifed, rows=len(rows), size=size)
        distances = spread(frechet.over_subsets(self._held_out, rows, **options))
        cover = precision_recall.over_subsets(self._held_out, rows, **options)
        copied = near_copies.ratios(rows, self._training) < near_copies.THRESHOLD
        discrepancy = kernel_distance.over_blocks(rows, self._held_out, seed=SEED)
        around = 1.96 * discrepancy.standard_error
        return MeasuredSet(
            n=len(rows),
            frechet=interval(ratio_of_means, distances, self.floor, rng=rng),
            accuracy=self.accuracy(judged, labels),
            precision=interval(np.mean, spread(np.array([each.precision for each in cover])), rng=rng),
            recall=interval(np.mean, spread(np.array([each.recall for each in cover])), rng=rng),
            copies=share(copied),
            excess=interval(difference_of_means, copied, self._real_copies, rng=rng),
            kernel=(discrepancy.value, discrepancy.value - around, discrepancy.value + around),
            distances=distances,
        )

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> Number:
        """The share of images that the classifier reads as their labels."""
        return share(classifier_accuracy.correct(self._classifier, images, labels))

    def _rows(self, images: np.ndarray) -> np.ndarray:
        return features.extract(self._features, images)


def ratio(first: MeasuredSet, second: MeasuredSet) -> Number:
    """The first set's Fréchet distance in units of the second's."""
    return interval(ratio_of_means, first.distances, second.distances)
