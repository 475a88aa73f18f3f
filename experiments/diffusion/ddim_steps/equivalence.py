"""How far two sets of samples differ in their Fréchet distance, paired sample by sample, with the interval of an equivalence test.

d = (F_few - F_many) / F_many, F a set's Fréchet distance to the held-out digits. Two one-sided tests at level 0.05 find |d| below a margin
exactly when d's 90 % interval lies within the margin (Schuirmann, 1987). The interval is a bootstrap: each resample takes the same sample
indices of every set and the same held-out digits.

F grows with fewer distinct rows, and a resample has fewer: the mean of its F lies above the set's own by about as much in both sets. That
would cancel in the numerator and inflate the denominator, so that sets look more alike than they are. So the resamples of each set are
first moved back to have the set's own F as their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.reporting import verdicts
from experiments.reporting.verdicts import Number
from gendiff.core import checks
from gendiff.metrics import frechet

CONFIDENCE = 0.9
"""Of the interval: two one-sided tests at level 0.05."""


@dataclass(frozen=True)
class Distances:
    """Of one set: its Fréchet distance, and that of each resample (r,); `centred` are these moved to have `whole` as their mean."""

    whole: float
    resamples: np.ndarray

    @property
    def centred(self) -> np.ndarray:
        return self.resamples - self.resamples.mean() + self.whole


@dataclass(frozen=True)
class Difference:
    """d and the ends of its 90 % interval."""

    value: float
    low: float
    high: float

    @property
    def size(self) -> Number:
        """|d|, and the least and the largest |d| of the interval."""
        return verdicts.away((self.value, self.low, self.high))


def resampled(sets: Mapping[str, np.ndarray], held_out: np.ndarray, *, resamples: int, seed: int) -> dict[str, Distances]:
    """Distances of features (n, d) by name, row i of every set being the same sample, to the held-out rows (m, d).

    Raises ValueError for sets of different lengths.
    """
    checks.integer("resamples", resamples, 2)
    lengths = {len(rows) for rows in sets.values()}
    if len(lengths) != 1:
        raise ValueError(f"paired sets must have equally many rows, got {sorted(lengths)}")
    count, rng, reference = lengths.pop(), np.random.default_rng(seed), frechet.fit(held_out)
    wholes = {name: frechet.between(reference, frechet.fit(rows)) for name, rows in sets.items()}
    drawn: dict[str, list[float]] = {name: [] for name in sets}
    for _ in range(resamples):
        times = _times(rng, count)
        reference = _fit(held_out, _times(rng, len(held_out)))
        for name, rows in sets.items():
            drawn[name].append(frechet.between(reference, _fit(rows, times)))
    return {name: Distances(wholes[name], np.array(drawn[name])) for name in sets}


def difference(few: Distances, many: Distances) -> Difference:
    """The d of two sets from the same call of `resampled`."""
    relative = few.centred / many.centred - 1
    low, high = np.quantile(relative, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(few.whole / many.whole - 1, float(low), float(high))


def _times(rng: np.random.Generator, count: int) -> np.ndarray:
    """How often a resample holds each of `count` rows."""
    return np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)


def _fit(rows: np.ndarray, times: np.ndarray) -> frechet.FittedGaussian:
    """`frechet.fit` of the rows, each `times` over, from their moments: thousands of these are needed, and no factor of n rows."""
    count = times.sum()
    mean = times @ rows / count
    covariance = ((rows - mean) * times[:, None]).T @ (rows - mean) / (count - 1)
    return frechet.from_moments(mean, (covariance + covariance.T) / 2)
