"""Images stored as NumPy arrays: `.npy` (images alone) or `.npz` (images and labels). Nothing is ever unpickled."""

import dataclasses
import os
import zipfile
from pathlib import Path

import numpy as np

from gendiff.core import checks, npz
from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import scaling
from gendiff.data.images import image_files, random_access
from gendiff.data.images.image_set import Images
from gendiff.data.images.random_access import Source


def load(
    path: str | os.PathLike[str], *, levels: int = 256, images: str = "images", labels: str | None = "labels"
) -> Images:
    """Load the images of one `.npy` or `.npz` file.

    Images are (n, h, w) or (n, h, w, c): whole values 0…levels-1 of an integer dtype, which are scaled, or floats,
    which must already lie in [-1, 1]. Labels are integers (n,), NO_LABEL or 0, 1, …; an `.npy` has none, and all are
    NO_LABEL. An `.npz` that lacks the array named by `labels` is an error, not an unlabelled set.

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
    pixels, numbers = _stored(file, levels, images, labels, mapped=False)
    clean = (
        np.asarray(scaling.to_unit(pixels, levels))
        if np.issubdtype(pixels.dtype, np.integer)
        else pixels.astype(np.float32)
    )
    return Images(clean, numbers, classes=_classes(numbers), levels=levels)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ArrayImages(Source):
    """The images of one array, in memory or mapped from an `.npy` file. `source` builds it."""

    path: Path
    pixels: np.ndarray
    mode: str | None
    size: int | None
    background: tuple[int, int, int] | None

    def image(self, i: int) -> np.ndarray:
        """Copy image i, (h, w, c)."""
        stored = self.pixels[i] if self.pixels.ndim == 4 else self.pixels[i, ..., None]
        return image_files.convert_stored(
            self.name(i), stored, self.levels, mode=self.mode, size=self.size, background=self.background
        )

    def short_side(self, i: int) -> int:
        """The shorter side of the images."""
        return int(min(self.pixels.shape[1:3]))

    def name(self, i: int) -> str:
        """The path and the number of image i."""
        return f"{random_access.printable(self.path)}: image {i}"

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | ({"pixels": None} if isinstance(self.pixels, np.memmap) else {})

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        if self.pixels is None:  # another process maps the file for itself
            self.__dict__["pixels"] = np.load(self.path, mmap_mode="r")


def source(
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    mode: str | None = None,
    background: tuple[int, int, int] | None = None,
    on_bad: str = "raise",
    conditional: str = "auto",
    levels: int = 256,
) -> ArrayImages:
    """Open one `.npy` or `.npz` file for random access.

    An `.npy` file is mapped into memory and read where it is needed; the arrays of an `.npz` are read whole. Images are
    the array `images` of an `.npz`, or `arr_0` where there is none of that name; beside `arr_0`, `arr_1` stands for
    `labels` in the same way. Whole values stay whole; floats in [-1, 1] are float32.

    Args:
        path: the file.
        size: the side of the square images; `image_files.read` states how 8-bit images are resized and cropped. None
            keeps them.
        mode: "RGB" or "L", for 8-bit images of 1, 3 or 4 channels; None keeps the channels.
        background: the colour under transparent pixels of images with 4 channels that get a mode.
        on_bad: "raise" or "skip", for images that cannot be converted in `random_access.scan`.
        conditional: "auto" takes the labels of an `.npz`, if they are there and name 2 classes or more; "none" gives
            NO_LABEL.
        levels: whole values that a channel has, 2 … 65536.

    Raises:
        DataError: path first, for every other content.
    """
    checks.integer("levels", levels, 2, scaling.MOST_LEVELS)
    image_files.check_options(mode, size, background)
    checks.choice("on_bad", on_bad, random_access.ON_BAD)
    checks.choice("conditional", conditional, random_access.CONDITIONAL)
    file = npz.existing(Path(path), ".npy", ".npz")
    content = random_access.file_digest(file)
    arrays = _names(file)
    images = "arr_0" if "arr_0" in arrays and "images" not in arrays else "images"
    stored = "arr_1" if images == "arr_0" and "labels" not in arrays else "labels"
    named = stored if conditional == "auto" and stored in arrays else None
    pixels, numbers = _stored(file, levels, images, named, mapped=True)
    used_labels, classes = random_access.labelled(numbers, _classes(numbers), conditional)
    return ArrayImages(
        labels=used_labels,
        classes=classes,
        levels=levels,
        fingerprint=random_access.fingerprint("arrays", content, mode, size, background, levels, images, classes),
        on_bad=on_bad,
        path=file,
        pixels=pixels,
        mode=mode,
        size=size,
        background=background,
    )


def _stored(file: Path, levels: int, images: str, labels: str | None, *, mapped: bool) -> tuple[np.ndarray, np.ndarray]:
    """The images as they are stored, (n, h, w) or (n, h, w, c), and the labels, both checked."""
    if file.suffix.lower() == ".npy":
        pixels, named = npz.guarded(file, lambda: _map_npy(file) if mapped else _read_npy(file)), None
    else:
        names = [images] if labels is None else [images, labels]
        stored = npz.guarded(file, lambda: npz.read(file, names))
        pixels, named = stored[images], None if labels is None else stored[labels]
    _check(file, pixels, levels)
    pixels = pixels if mapped or pixels.ndim == 4 else pixels[..., None]
    return pixels, _labels(file, named, len(pixels))


def _names(file: Path) -> list[str]:
    if file.suffix.lower() == ".npy":
        return []

    def listed() -> list[str]:
        with zipfile.ZipFile(file) as archive:
            return npz.names(archive)

    return npz.guarded(file, listed)


def _classes(numbers: np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, range(int(numbers.max()) + 1)))


def _read_npy(file: Path) -> np.ndarray:
    with file.open("rb") as stream:
        return npz.read_array(str(file), stream)


def _map_npy(file: Path) -> np.ndarray:
    array = np.lib.format.open_memmap(file, mode="r")
    if file.stat().st_size != array.offset + array.nbytes:
        raise DataError(f"{file}: holds more bytes than its shape {array.shape} says")
    return array


def _check(file: Path, stored: np.ndarray, levels: int) -> None:
    if stored.ndim not in (3, 4) or 0 in stored.shape:
        raise DataError(f"{file}: images must be (n, h, w) or (n, h, w, c) and not empty, got {stored.shape}")
    if stored.ndim == 4 and stored.shape[1] <= 4 < stored.shape[3]:
        raise DataError(
            f"{file}: images of shape {stored.shape} have their channels first; move them last with array.transpose(0, "
            "2, 3, 1)"
        )
    if np.issubdtype(stored.dtype, np.integer):
        if stored.dtype == np.uint8 and levels == 256:
            return
        low, high = int(stored.min()), int(stored.max())
        if low < 0 or high >= levels:
            raise DataError(f"{file}: pixels lie in {low}…{high}, but {levels} levels are 0…{levels - 1}; pass levels=")
    elif np.issubdtype(stored.dtype, np.floating):
        _check_unit(file, stored, levels)
    else:
        raise DataError(f"{file}: images must be integers or floats, got {stored.dtype}")


def _check_unit(file: Path, pixels: np.ndarray, levels: int) -> None:
    bad = pixels.size - int(np.isfinite(pixels).sum())
    if bad:
        raise DataError(f"{file}: {bad} of {pixels.size} values are NaN or infinite")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1 or high > 1:
        raise DataError(
            f"{file}: float images must lie in [-1, 1], got [{low:g}, {high:g}]; store whole values as integers "
            f"0…{levels - 1}"
        )
    if low >= 0 and high > low:
        raise DataError(
            f"{file}: float images must lie in [-1, 1], and these lie in [{low:g}, {high:g}], as those in [0, 1] do; "
            "store 2 x - 1"
        )


def _labels(file: Path, stored: np.ndarray | None, count: int) -> np.ndarray:
    if stored is None:
        return np.full(count, NO_LABEL, dtype=np.int32)
    if not np.issubdtype(stored.dtype, np.integer):
        raise DataError(f"{file}: labels must be integers, got {stored.dtype}")
    if stored.shape != (count,):
        raise DataError(f"{file}: labels have shape {stored.shape}, but there are {count} images; ({count},) is needed")
    if stored.min() < NO_LABEL or stored.max() >= random_access.MOST_CLASSES:
        raise DataError(
            f"{file}: labels lie in {stored.min()}…{stored.max()}; 0 … {random_access.MOST_CLASSES - 1} or NO_LABEL = "
            f"{NO_LABEL} are needed"
        )
    labels: np.ndarray = stored.astype(np.int32)
    return labels
