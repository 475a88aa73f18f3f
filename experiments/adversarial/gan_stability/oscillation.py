"""How much a training curve swings: the share of its variance at slow periods, from its power spectrum.

The loss of independent batches under a model that hardly changes is white noise, whose power is the same at all
frequencies. Two players that chase each other swing with periods of many steps, and that is where the power of their
losses then lies.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy


@dataclass(frozen=True)
class Spectrum:
    """Of one curve.

    frequency: (k,) in cycles per step, above 0. power: (k,) over their mean, so that white noise has 1 everywhere; NaN
    for a curve that is too short or constant.
    """

    frequency: np.ndarray
    power: np.ndarray

    def share(self, slowest: int, fastest: int) -> float:
        """Of the variance, at periods of `fastest` … `slowest` steps; NaN where no frequency has such a period."""
        within = self._within(slowest, fastest)
        return float(self.power[within].sum() / len(self.power)) if within.any() else math.nan

    def white(self, slowest: int, fastest: int) -> float:
        """What white noise has there on average."""
        within = self._within(slowest, fastest)
        return float(within.mean()) if within.size else math.nan

    @property
    def period(self) -> float:
        """Steps of the swing with the most power; NaN where there is none."""
        finite = self.power.size and np.isfinite(self.power).all()
        return float(1 / self.frequency[np.argmax(self.power)]) if finite else math.nan

    def _within(self, slowest: int, fastest: int) -> np.ndarray:
        return (self.frequency >= 1 / slowest - 1e-12) & (self.frequency <= 1 / fastest + 1e-12)


def spectrum(curve: np.ndarray, slowest: int) -> Spectrum:
    """That of a curve (n,), a value per step, by Welch's method: means over windows of twice the slowest period, half
    of each shared.

    A straight line is taken out of each window, for a loss that still falls is no swing. Steps without a finite value
    are left out.

    References:
        Welch, 1967.
    """
    values = curve[np.isfinite(curve)]
    length = min(2 * slowest, len(values))
    if length < 8 or np.ptp(values) == 0:
        return Spectrum(np.zeros(0), np.zeros(0))
    frequency, power = scipy.signal.welch(values, window="hann", nperseg=length, detrend="linear")
    frequency, power = frequency[1:], power[1:]
    return Spectrum(frequency, power / power.mean())
