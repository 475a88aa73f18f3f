"""How near images are to the ones they should be, image by image: PSNR and SSIM."""

import math

import numpy as np
from jaxtyping import Float64, Shaped
from scipy.ndimage import correlate1d

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation


def psnr(
    images: Shaped[ArrayLike, "n *shape"], truth: Shaped[ArrayLike, "..."], *, low: int | float = -1.0, high: int | float = 1.0
) -> Float64[np.ndarray, "n"]:
    """10 log10((high - low)² / mean square error), in decibels; infinite for an equal image.

    low, high: the range of the data; values outside are not clipped. Raises ValueError for different shapes, low >= high and values that
    are not finite.
    """
    given, wanted = _pair(images, truth, low, high)
    error = np.mean((given - wanted).reshape(len(given), -1) ** 2, axis=1)
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def ssim(
    images: Shaped[ArrayLike, "n h w c"],
    truth: Shaped[ArrayLike, "..."],
    *,
    low: int | float = -1.0,
    high: int | float = 1.0,
    window: int = 11,
    std: int | float = 1.5,
) -> Float64[np.ndarray, "n"]:
    """The structural similarity of each image, in [-1, 1], 1 for an equal one (Wang et al., 2004, Eq. 13, K1 = .01, K2 = .03).

    Means, variances and covariance under a Gaussian window of standard deviation `std` pixels, `window` pixels wide and normalised, at
    every place where it lies inside the image; averaged over those places and over channels. low, high: the range of the data, which
    becomes [0, 1], as the formula is made for values that are not negative: it changes when all values are shifted.

    Raises ValueError for images smaller than the window, an even window, and as `psnr` does. Values with other windows do not compare.
    """
    checks.integer("window", window, 1)
    checks.in_range("std", std, 0.0, math.inf, open_low=True, open_high=True)
    given, wanted = _pair(images, truth, low, high)
    if given.ndim != 4:
        raise ValueError(f"images must be (n, h, w, c), got shape {given.shape}")
    if window % 2 == 0:
        raise ValueError(f"window = {window} must be odd: it has a pixel in its middle")
    smallest = min(given.shape[1:3])
    if smallest < window:
        fits = smallest - (smallest % 2 == 0)
        raise ValueError(f"images of {given.shape[1]}×{given.shape[2]} are smaller than the window of {window}: pass window={fits} or less")
    return _similarity(given, wanted, _gaussian(window, std)).mean(axis=(1, 2, 3))


def _similarity(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Eq. 13 at every place, (n, h', w', c), of values in [0, 1]."""
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _averaged(x, weights), _averaged(y, weights)
    var_x, var_y = _averaged(x * x, weights) - mean_x**2, _averaged(y * y, weights) - mean_y**2
    covariance = _averaged(x * y, weights) - mean_x * mean_y
    return (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


def _averaged(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Under the window wherever it lies inside (n, h, w, c)."""
    border = len(weights) // 2
    blurred = correlate1d(correlate1d(x, weights, axis=1), weights, axis=2)
    return blurred[:, border : x.shape[1] - border, border : x.shape[2] - border]


def _gaussian(window: int, std: float) -> np.ndarray:
    place = np.arange(window) - window // 2
    weights = np.exp(-(place**2) / (2 * std**2))
    return weights / weights.sum()


def _pair(images: ArrayLike, truth: ArrayLike, low: int | float, high: int | float) -> tuple[np.ndarray, np.ndarray]:
    """Both with [low, high] as [0, 1]."""
    width = validation.data_range(low, high)
    checks.same_shape("images", images, "truth", truth)
    return (validation.images("images", images, at_least=1) - low) / width, (validation.images("truth", truth, at_least=1) - low) / width
