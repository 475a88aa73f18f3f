"""Images stored as NumPy arrays: `.npy` (images alone) or `.npz` (images and labels). Nothing is ever unpickled."""

import io
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from gendiff.core import checks
from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import scaling
from gendiff.data.images import Images

T = TypeVar("T")


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
    file = Path(path)
    if file.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{file}: must be named .npy or .npz")
    if not file.is_file():
        raise DataError(f"{file}: {'not a regular file' if file.exists() else 'no such file'}")
    if file.suffix.lower() == ".npy":
        pixels, named = _guarded(file, lambda: _read_npy(file)), None
    else:
        wanted = [images] if labels is None else [images, labels]
        stored = _guarded(file, lambda: _read_npz(file, wanted))
        pixels, named = stored[images], None if labels is None else stored[labels]
    clean = _clean(file, pixels, levels)
    numbers = _labels(file, named, len(clean))
    return Images(clean, numbers, classes=tuple(map(str, range(int(numbers.max()) + 1))), levels=levels)


def _guarded(file: Path, read: Callable[[], T]) -> T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of headers it has to guess at
            return read()
    except DataError:
        raise
    except Exception as error:  # a forged header can trip zipfile, zlib, struct, tokenize or the allocator
        raise DataError(f"{file}: not a whole NumPy file without objects: {type(error).__name__}: {error}") from error


def _read_npy(file: Path) -> np.ndarray:
    with file.open("rb") as stream:
        return _read_array(str(file), stream)


def _read_npz(file: Path, wanted: list[str]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist()]
        for name in wanted:
            if members.count(name) != 1:
                raise DataError(
                    f"{file}: has {members.count(name)} arrays named {name!r}, one is needed; its arrays are {', '.join(members) or 'none'}"
                )
        # read whole, because only then does zipfile compare the checksum
        return {name: _read_array(f"{file}: array {name}", io.BytesIO(archive.read(f"{name}.npy"))) for name in wanted}


def _read_array(name: str, stream: BinaryIO | io.BytesIO) -> np.ndarray:
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise DataError(f"{name}: holds more bytes than its shape {array.shape} says")
    return array


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
