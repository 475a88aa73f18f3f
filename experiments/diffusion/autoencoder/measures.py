"""How much of the originals' energy at high frequencies pictures lack, and what explains it; each number with a
bootstrap interval.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from experiments.diffusion.autoencoder.edges import CUTOFF
from gendiff.core.types import Scalar
from gendiff.metrics import bootstrap, spectrum
from gendiff.runs.reporting.verdicts import Number

SEED = 0
"""Of resamples; training has its own seeds."""
UNMEASURED: Number = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Measure:
    """What the lack of high frequencies is measured with. resamples: behind each interval.

    Energies are under a Hann window, so that the jump between opposite borders of a patch is no edge.
    """

    resamples: int

    def energy(self, images: np.ndarray) -> np.ndarray:
        """(n,) of each picture, from the cutoff on."""
        return spectrum.radial(images, window="hann").above(CUTOFF)

    def lack(self, originals: np.ndarray, others: np.ndarray, *, paired: bool = False) -> Number:
        """1 - mean energy of `others` / that of `originals`, both (n,); paired: row by row of the same pictures."""
        return self._interval(lack, originals, others, paired=paired)

    def share(self, originals: np.ndarray, decoded: np.ndarray, samples: np.ndarray) -> Number:
        """The lack of decoded originals over that of samples: what the decoder alone explains.

        Rows of originals and decoded are of the same pictures. Not a number unless samples lack something beyond doubt.
        """
        if not self.lack(originals, samples)[1] > 0:
            return UNMEASURED

        def statistic(pairs: np.ndarray, resampled: np.ndarray) -> float:
            return lack(pairs[:, 0], pairs[:, 1]) / lack(pairs[:, 0], resampled)

        return self._interval(statistic, np.stack([originals, decoded], axis=1), samples)

    def excess(self, originals: np.ndarray, first: np.ndarray, second: np.ndarray) -> Number:
        """The lack of the first less that of the second, which are no pictures of the originals."""

        def statistic(true: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
            return lack(true, one) - lack(true, other)

        return self._interval(statistic, originals, first, second)

    def mended(self, originals: np.ndarray, before: np.ndarray, after: np.ndarray) -> Number:
        """1 - the lack after / the lack before, all of the same pictures; not a number unless there is a lack before
        beyond doubt.
        """
        if not self.lack(originals, before, paired=True)[1] > 0:
            return UNMEASURED

        def statistic(true: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
            return 1 - lack(true, other) / lack(true, one)

        return self._interval(statistic, originals, before, after, paired=True)

    def mean(self, values: np.ndarray) -> Number:
        """The mean of values (n,)."""
        return self._interval(np.mean, values)

    def _interval(self, statistic: Callable[..., Scalar], *rows: np.ndarray, paired: bool = False) -> Number:
        return bootstrap.interval(
            np.random.default_rng(SEED), statistic, *rows, paired=paired, resamples=self.resamples
        ).number


def lack(originals: np.ndarray, others: np.ndarray) -> float:
    """1 - mean / mean: 0 for equal energy, 1 for none, negative for more."""
    return float(1 - np.mean(others) / np.mean(originals))


def smaller_and_larger(images: np.ndarray, factor: int) -> np.ndarray:
    """(n, h, w, c) made smaller by the factor and larger again, both bicubic, clipped to [-1, 1]: a code without a
    network.
    """
    count, height, width, channels = images.shape
    small = jax.image.resize(images, (count, height // factor, width // factor, channels), "cubic")
    return np.clip(np.asarray(jax.image.resize(small, images.shape, "cubic")), -1, 1)
