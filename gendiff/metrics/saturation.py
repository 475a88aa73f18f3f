"""How far images run to the ends of their range: clipped values, contrast and colour saturation, one number an image."""

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Shares of red, green and blue (ITU-R BT.709), applied to the values as they are."""


def clipped_fraction(
    images: Shaped[ArrayLike, "n *shape"], *, low: int | float = -1.0, high: int | float = 1.0, margin: int | float = 0.0
) -> Float64[np.ndarray, "n"]:
    """The share of values, in [0, 1], at or beyond `low` or `high`, or nearer to them than `margin`, in the images' unit.

    Real images have such values too: it means something beside theirs. Raises ValueError for low >= high and images not finite.
    """
    checks.in_range("margin", margin, 0.0, validation.data_range(low, high) / 2, open_high=True)
    given = validation.images("images", images, at_least=1).reshape(len(images), -1)
    return np.mean((given <= low + margin) | (given >= high - margin), axis=1)


def rms_contrast(images: Shaped[ArrayLike, "n h w c"], *, low: int | float = -1.0, high: int | float = 1.0) -> Float64[np.ndarray, "n"]:
    """The standard deviation of the luminance over an image, with [low, high] as [0, 1] (Peli, 1990, Eq. 4); at most 0.5 within it.

    Values outside are not clipped. Raises ValueError unless the last axis has 1 or 3 channels, and as `clipped_fraction` does.
    """
    unit = _unit(images, low, high, channels=(1, 3))
    luminance = unit[..., 0] if unit.shape[-1] == 1 else unit @ LUMINANCE
    return luminance.reshape(len(unit), -1).std(axis=1)


def mean_saturation(images: Shaped[ArrayLike, "n h w c"], *, low: int | float = -1.0, high: int | float = 1.0) -> Float64[np.ndarray, "n"]:
    """The mean over an image of HSV's saturation, (max - min) / max of red, green and blue (Smith, 1978), 0 for black; in [0, 1].

    Values are clipped to [low, high], which becomes [0, 1]. Raises ValueError unless the last axis has 3 channels, and as
    `clipped_fraction` does.
    """
    unit = np.clip(_unit(images, low, high, channels=(3,)), 0.0, 1.0)
    largest, smallest = unit.max(axis=-1), unit.min(axis=-1)
    lit = largest > 0
    return np.where(lit, (largest - smallest) / np.where(lit, largest, 1.0), 0.0).reshape(len(unit), -1).mean(axis=1)


def _unit(images: ArrayLike, low: int | float, high: int | float, channels: tuple[int, ...]) -> np.ndarray:
    width = validation.data_range(low, high)
    given = validation.images("images", images, at_least=1)
    if given.ndim != 4 or given.shape[-1] not in channels:
        raise ValueError(f"images must be (n, h, w, c) with {' or '.join(map(str, channels))} channels, got shape {given.shape}")
    return (given - low) / width
