"""How far two sets of samples differ in their Fréchet distance, paired sample by sample, with the interval of an
equivalence test.

d = (F_few - F_many) / F_many, F a set's Fréchet distance to the held-out digits. Two one-sided tests at level 0.05 find
|d| below a margin exactly when d's 90 % interval lies within the margin (Schuirmann, 1987). The interval is a
bootstrap: each resample takes the same sample indices of every set and the same held-out digits.

F grows with fewer distinct rows, and a resample has fewer: the mean of its F lies above the set's own by about as much
in both sets. That would cancel in the numerator and inflate the denominator, so that sets look more alike than they
are. So the resamples of each set are first moved back to have the set's own F as their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gendiff.core import checks
from gendiff.data import digits, scaling
from gendiff.metrics import features, frechet
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number

T = TypeVar("T")
CONFIDENCE = 0.9
"""Of the interval: two one-sided tests at level 0.05."""


@dataclass(frozen=True)
class Distances:
    """Of one set: its Fréchet distance, and that of each resample (r,); `centred` are these moved to have `whole` as
    their mean.
    """

    whole: float
    resamples: np.ndarray

    @property
    def centred(self) -> np.ndarray:
        return self.resamples - self.resamples.mean() + self.whole


def resampled(sets: Mapping[T, np.ndarray], held_out: np.ndarray, *, resamples: int, seed: int) -> dict[T, Distances]:
    """Distances of features (n, d), row i of every set being the same sample, to the held-out rows (m, d).

    Raises ValueError for sets of different lengths.
    """
    checks.integer("resamples", resamples, 2)
    if len(lengths := {len(rows) for rows in sets.values()}) != 1:
        raise ValueError(f"paired sets must have equally many rows, got {sorted(lengths)}")
    count, rng, reference = lengths.pop(), np.random.default_rng(seed), frechet.fit(held_out)

    def resample() -> list[float]:
        times, resampled_means = _times(rng, count), _fit(held_out, _times(rng, len(held_out)))
        return [frechet.frechet_distance(resampled_means, _fit(rows, times)) for rows in sets.values()]

    wholes = [frechet.frechet_distance(reference, frechet.fit(rows)) for rows in sets.values()]
    columns = np.array([resample() for _ in range(resamples)]).T
    return {name: Distances(distance, column) for name, distance, column in zip(sets, wholes, columns, strict=True)}


def of_digits(samples: Mapping[T, np.ndarray], held_out: np.ndarray, *, resamples: int) -> dict[T, Distances]:
    """`resampled` of images of digits (n, h, w, c), the drawn ones rounded to the data's levels."""
    points = {each: points_of_digits(images) for each, images in samples.items()}
    return resampled(points, features.pixels(held_out), resamples=resamples, seed=intervals.SEED)


def points_of_digits(images: np.ndarray) -> np.ndarray:
    """(n, d) features of drawn digits (n, h, w, c), rounded to the data's levels."""
    return features.pixels(np.asarray(scaling.round_to_levels(images, digits.LEVELS)))


def difference(few: Distances, many: Distances) -> Number:
    """The d of two sets from the same call of `resampled`, and the ends of its 90 % interval. Not those of 95 % that
    most numbers have: a statement about it names its level.
    """
    low, high = np.quantile(few.centred / many.centred - 1, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return few.whole / many.whole - 1, float(low), float(high)


def _times(rng: np.random.Generator, count: int) -> np.ndarray:
    """How often a resample holds each of `count` rows."""
    return np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)


def _fit(rows: np.ndarray, times: np.ndarray) -> frechet.FittedGaussian:
    """`frechet.fit` of the rows, each `times` over, from their moments: thousands of these are needed, and no factor of
    n rows.
    """
    count = times.sum()
    mean = times @ rows / count
    covariance = ((rows - mean) * times[:, None]).T @ (rows - mean) / (count - 1)
    return frechet.from_moments(mean, (covariance + covariance.T) / 2)
