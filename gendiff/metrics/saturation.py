"""Saturation of images, one number per image: clipped values, contrast and colour saturation."""

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Shares of red, green and blue (ITU-R BT.709), applied to the values as they are."""


def clipped_fraction(
    images: Shaped[ArrayLike, "n *shape"],
    *,
    low: int | float = -1.0,
    high: int | float = 1.0,
    margin: int | float = 0.0,
) -> Float64[np.ndarray, "n"]:
    """Measure the share of values, in [0, 1], at or beyond `low` or `high`, or nearer to them than `margin`.

    Real images have such values too: it means something beside theirs.

    Args:
        images: (n, …).
        low: the lower end of the data's range.
        high: the upper end.
        margin: 0 … half the range, in the images' unit.

    Raises:
        ValueError: for low >= high, a margin outside its range, and images that are not finite.
    """
    checks.in_range("margin", margin, 0.0, validation.range_width(low, high) / 2, open_high=True)
    values = validation.as_images("images", images, at_least=1).reshape(len(images), -1)
    return np.mean((values <= low + margin) | (values >= high - margin), axis=1)


def rms_contrast(
    images: Shaped[ArrayLike, "n h w c"], *, low: int | float = -1.0, high: int | float = 1.0
) -> Float64[np.ndarray, "n"]:
    """Measure the standard deviation of the luminance over an image, with [low, high] as [0, 1]; at most 0.5 within it.

    Args:
        images: (n, h, w, c), c = 1 or 3. Values outside [low, high] are not clipped.
        low: the lower end of the data's range.
        high: the upper end.

    Raises:
        ValueError: for another number of channels, and as `clipped_fraction` does.

    References:
        Peli, 1990, Eq. 4 (from memory).
    """
    unit = _unit(images, low, high, channels=(1, 3))
    luminance = unit[..., 0] if unit.shape[-1] == 1 else unit @ LUMINANCE
    return luminance.reshape(len(unit), -1).std(axis=1)


def mean_saturation(
    images: Shaped[ArrayLike, "n h w c"], *, low: int | float = -1.0, high: int | float = 1.0
) -> Float64[np.ndarray, "n"]:
    """Average HSV's saturation over an image: (max - min) / max of red, green and blue, 0 for black; in [0, 1].

    Args:
        images: (n, h, w, 3). Values are clipped to [low, high], which becomes [0, 1].
        low: the lower end of the data's range.
        high: the upper end.

    Raises:
        ValueError: for another number of channels, and as `clipped_fraction` does.

    References:
        Smith, 1978.
    """
    unit = np.clip(_unit(images, low, high, channels=(3,)), 0.0, 1.0)
    largest, smallest = unit.max(axis=-1), unit.min(axis=-1)
    lit = largest > 0
    return np.where(lit, (largest - smallest) / np.where(lit, largest, 1.0), 0.0).reshape(len(unit), -1).mean(axis=1)


def _unit(images: ArrayLike, low: int | float, high: int | float, channels: tuple[int, ...]) -> np.ndarray:
    width = validation.range_width(low, high)
    values = validation.as_images("images", images, at_least=1)
    if values.ndim != 4 or values.shape[-1] not in channels:
        raise ValueError(
            f"images must be (n, h, w, c) with {' or '.join(map(str, channels))} channels, got shape {values.shape}"
        )
    return (values - low) / width
