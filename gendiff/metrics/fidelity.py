"""Fidelity of each image to its target: PSNR and SSIM.

scikit-image computes one image at a time, and its SSIM takes the width of the Gaussian window from its standard
deviation alone (11 for 1.5), which does not fit into 8×8 digits. Where both define the same window, the numbers are
equal.
"""

import math

import numpy as np
import scipy
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation


def psnr(
    images: Shaped[ArrayLike, "n *shape"],
    truth: Shaped[ArrayLike, "..."],
    *,
    low: int | float = -1.0,
    high: int | float = 1.0,
) -> Float64[np.ndarray, "n"]:
    """Compute the peak signal-to-noise ratio (PSNR) of each image, in decibels; infinite for an equal image.

    It is 10 log10((high - low)² / mean square error).

    Args:
        images: (n, …).
        truth: (n, …), what the images should be.
        low: the lower end of the data's range; values outside are not clipped.
        high: the upper end.

    Raises:
        ValueError: for different shapes, low >= high and values that are not finite.
    """
    values, targets = _pair(images, truth, low, high)
    error = np.mean((values - targets).reshape(len(values), -1) ** 2, axis=1)
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
    """Compute the structural similarity (SSIM) of each image, in [-1, 1], 1 for an equal one.

    Means, variances and covariance are taken under a normalised Gaussian window, at every place where it lies inside
    the image, and the formula is averaged over those places and over channels, with K1 = 0.01 and K2 = 0.03. Values
    with other windows do not compare.

    Args:
        images: (n, h, w, c).
        truth: (n, h, w, c), what the images should be.
        low: the lower end of the data's range. [low, high] becomes [0, 1], because the formula is made for values that
            are not negative and changes when all values are shifted.
        high: the upper end.
        window: width in pixels, odd, at most h and w.
        std: standard deviation of the window in pixels, > 0.

    Raises:
        ValueError: for images smaller than the window, an even window, and as `psnr` does.

    References:
        Wang et al., 2004, Eq. 13 (from memory).
    """
    checks.integer("window", window, 1)
    checks.in_range("std", std, 0.0, math.inf, open_low=True, open_high=True)
    values, targets = _pair(images, truth, low, high)
    if values.ndim != 4:
        raise ValueError(f"images must be (n, h, w, c), got shape {values.shape}")
    if window % 2 == 0:
        raise ValueError(f"window = {window} must be odd: it has a pixel in its middle")
    smallest = min(values.shape[1:3])
    if smallest < window:
        fits = smallest - (smallest % 2 == 0)
        raise ValueError(
            f"images of {values.shape[1]}×{values.shape[2]} are smaller than the window of {window}: pass "
            f"window={fits} or less"
        )
    return _similarity(values, targets, _gaussian(window, std)).mean(axis=(1, 2, 3))


def _similarity(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Eq. 13 at each position, (n, h', w', c), of values in [0, 1]."""
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _averaged(x, weights), _averaged(y, weights)
    var_x, var_y = _averaged(x * x, weights) - mean_x**2, _averaged(y * y, weights) - mean_y**2
    covariance = _averaged(x * y, weights) - mean_x * mean_y
    similarity: np.ndarray = (
        (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    )
    return similarity


def _averaged(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means under the window at all its positions inside (n, h, w, c)."""
    border = len(weights) // 2
    blurred: np.ndarray = scipy.ndimage.correlate1d(scipy.ndimage.correlate1d(x, weights, axis=1), weights, axis=2)
    return blurred[:, border : x.shape[1] - border, border : x.shape[2] - border]


def _gaussian(window: int, std: float) -> np.ndarray:
    offsets = np.arange(window) - window // 2
    weights = np.exp(-(offsets**2) / (2 * std**2))
    return weights / weights.sum()


def _pair(images: ArrayLike, truth: ArrayLike, low: int | float, high: int | float) -> tuple[np.ndarray, np.ndarray]:
    """Return both with [low, high] as [0, 1]."""
    width = validation.range_width(low, high)
    checks.same_shape("images", images, "truth", truth)
    return (validation.as_images("images", images, at_least=1) - low) / width, (
        validation.as_images("truth", truth, at_least=1) - low
    ) / width
