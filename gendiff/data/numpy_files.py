"""Images stored as NumPy arrays: `.npy` (images alone) or `.npz` (images and labels). Nothing is ever unpickled."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.core import checks, npz
from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import scaling
from gendiff.data.images import Images


def load(path: str | os.PathLike, *, levels: int = 256, images: str = "images", labels: str | None = "labels") -> Images:
    """Load the images of one `.npy` or `.npz` file.

    Images are (n, h, w) or (n, h, w, c): whole values 0…levels-1 of an integer dtype, which are scaled, or floats, which must already
    lie in [-1, 1]. Labels are integers (n,), NO_LABEL or 0, 1, …; an `.npy` has none, and all are NO_LABEL. An `.npz` that lacks the array
    named by `labels` is an error, not an unlabelled set.

    Args:
        path: the file.
        levels: whole values that a channel has, 2 … 65536.
        images: the name of the array of images in an `.npz`.
        labels: the name of the array of labels in an `.npz`; None for a set without labels.

    Returns:
        Images with `clean` float32 (n, h, w, c) in [-1, 1].

    Raises:
        DataError: path first, for every other content.
    """
    checks.integer("levels", levels, 2, scaling.MOST_LEVELS)
    file = npz.existing(Path(path), ".npy", ".npz")
    if file.suffix.lower() == ".npy":
        pixels, named = npz.guarded(file, lambda: _read_npy(file)), None
    else:
        wanted = [images] if labels is None else [images, labels]
        stored = npz.guarded(file, lambda: npz.read(file, wanted))
        pixels, named = stored[images], None if labels is None else stored[labels]
    clean = _clean(file, pixels, levels)
    numbers = _labels(file, named, len(clean))
    return Images(clean, numbers, classes=tuple(map(str, range(int(numbers.max()) + 1))), levels=levels)


def _read_npy(file: Path) -> np.ndarray:
    with file.open("rb") as stream:
        return npz.read_array(str(file), stream)


def _clean(file: Path, stored: np.ndarray, levels: int) -> np.ndarray:
    if stored.ndim not in (3, 4) or 0 in stored.shape:
        raise DataError(f"{file}: images must be (n, h, w) or (n, h, w, c) and not empty, got {stored.shape}")
    if stored.ndim == 4 and stored.shape[1] <= 4 < stored.shape[3]:
        raise DataError(
            f"{file}: images of shape {stored.shape} have their channels first; move them last with array.transpose(0, 2, 3, 1)"
        )
    pixels = stored[..., None] if stored.ndim == 3 else stored
    if np.issubdtype(pixels.dtype, np.integer):
        try:
            return np.asarray(scaling.to_unit(pixels, levels))
        except ValueError as error:
            raise DataError(f"{file}: {error}; pass levels=") from error
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"{file}: images must be integers or floats, got {pixels.dtype}")
    _check_unit(file, pixels, levels)
    return pixels.astype(np.float32)


def _check_unit(file: Path, pixels: np.ndarray, levels: int) -> None:
    bad = pixels.size - int(np.isfinite(pixels).sum())
    if bad:
        raise DataError(f"{file}: {bad} of {pixels.size} values are NaN or infinite")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1 or high > 1:
        raise DataError(f"{file}: float images must lie in [-1, 1], got [{low:g}, {high:g}]; store whole values as integers 0…{levels - 1}")
    if low >= 0 and high > low:
        raise DataError(f"{file}: float images lie in [{low:g}, {high:g}], which looks like [0, 1]; store 2 x - 1 instead")


def _labels(file: Path, stored: Any, count: int) -> np.ndarray:
    if stored is None:
        return np.full(count, NO_LABEL, dtype=np.int32)
    if not np.issubdtype(stored.dtype, np.integer):
        raise DataError(f"{file}: labels must be integers, got {stored.dtype}")
    if stored.shape != (count,):
        raise DataError(f"{file}: labels have shape {stored.shape}, but there are {count} images; ({count},) is needed")
    if stored.min() < NO_LABEL or stored.max() >= 2**31:
        raise DataError(f"{file}: labels lie in {stored.min()}…{stored.max()}; 0, 1, … or NO_LABEL = {NO_LABEL} are needed")
    return stored.astype(np.int32)
