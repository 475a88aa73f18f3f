"""Radial power spectra: how much of an image lies at each spatial frequency, whatever its direction.

Soft edges lack the high ones.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation

WINDOWS = ("none", "hann")
NYQUIST = 0.5
"""Cycles per pixel: the highest frequency along an axis. Along a diagonal there are frequencies up to 0.707."""


@dataclass(frozen=True, eq=False)
class RadialSpectrum:
    """What `radial` measures. Ring k holds the frequencies from (k - 1/2) to (k + 1/2) cycles per smaller side.

    Args:
        frequency: (rings,) the middle of each ring in cycles per pixel: 0, 1/side, 2/side, …
        modes: (rings,) how many Fourier modes each ring holds; they add up to h · w.
        energy: (n, rings) the part of each image's mean square that lies in each ring.
    """

    frequency: Float64[np.ndarray, "rings"]
    modes: Float64[np.ndarray, "rings"]
    energy: Float64[np.ndarray, "n rings"]

    @property
    def power(self) -> Float64[np.ndarray, "n rings"]:
        """(n, rings) the mean over the modes of a ring: white noise of variance v has v in every ring."""
        return self.energy * (self.modes.sum() / self.modes)

    def above(self, cutoff: int | float) -> Float64[np.ndarray, "n"]:
        """(n,) the energy of all rings whose middle is at least `cutoff`.

        Args:
            cutoff: in cycles per pixel, 0 … the middle of the last ring.

        Raises:
            ValueError: for a cutoff out of range.
        """
        checks.in_range("cutoff", cutoff, 0.0, float(self.frequency[-1]))
        return self.energy[:, self.frequency >= cutoff].sum(axis=1)


def radial(images: Shaped[ArrayLike, "n h w c"], *, window: str = "none") -> RadialSpectrum:
    """Compute the radial power spectrum of each image, a mean over its channels.

    The energies of an image add up to its mean square (Parseval), or to that of the windowed image.

    Args:
        images: (n, h, w, c), in any unit; h and w at least 2.
        window: "none" takes the image as one period, so that a jump between opposite borders counts as an edge. "hann"
            fades the image out to its borders, and divides by the mean square of the window, so that white noise keeps
            its power; the energy of a frequency then spreads over its neighbours, and that of the mean over the rings 0
            and 1.

    Raises:
        ValueError: for an unknown window, for smaller images, and for images that are not finite.

    References:
        van der Schaaf & van Hateren, 1996, section 2, for the average over directions (from memory).
    """
    checks.choice("window", window, WINDOWS)
    values = validation.as_images("images", images, at_least=1)
    if values.ndim != 4 or min(values.shape[1:3]) < 2:
        raise ValueError(f"images must be (n, h, w, c) with h and w at least 2, got shape {values.shape}")
    height, width = values.shape[1:3]
    if window == "hann":
        fading = _hann(height)[:, None] * _hann(width)
        values = values * (fading / math.sqrt(np.mean(fading**2)))[..., None]
    side, ring = min(height, width), _rings(height, width)
    modes = np.bincount(ring.ravel()).astype(np.float64)
    squares = np.mean(np.abs(np.fft.fft2(values, axes=(1, 2), norm="forward")) ** 2, axis=-1).reshape(len(values), -1)
    energy = np.stack([np.bincount(ring.ravel(), weights=row) for row in squares])
    return RadialSpectrum(np.arange(len(modes)) / side, modes, energy)


def _rings(height: int, width: int) -> np.ndarray:
    """(h, w) the ring of each Fourier mode."""
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    return np.floor(distance * min(height, width) + 0.5).astype(np.int64)


def _hann(length: int) -> np.ndarray:
    """One period of the window, 0 at its first pixel."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
