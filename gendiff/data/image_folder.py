"""Images from a folder of files: the class is the sub-folder, and every file that is left out is named."""

import os
from pathlib import Path

import numpy as np

from gendiff.core import checks
from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import image_files, scaling
from gendiff.data.images import Images


def load(
    path: str | os.PathLike,
    *,
    size: int | None = None,
    mode: str = "RGB",
    background: tuple[int, int, int] | None = None,
    on_bad: str = "raise",
) -> Images:
    """Load every image under `path`, at any depth, sorted by class and path.

    Classes are the folders directly under `path`, in order of their code points ("10" comes before "2"); without any folder the images
    have NO_LABEL. Hidden files and folders (.name) are no part of the set; links are followed.

    Args:
        path: the folder.
        size: the side of the square images, 1 … 8192; `image_files.read` states how it resizes and crops. None keeps each image as it
            is, and all must have one size.
        mode: "RGB" for 3 channels, "L" for 1.
        background: the colour under transparent pixels, each value 0 … 255; without one they are an error.
        on_bad: "raise" stops at the first file that cannot be used. "skip" leaves it out and adds its message to `skipped`; files
            beside the class folders, such as Thumbs.db, are left out as well.

    Returns:
        Images with `clean` (n, h, w, c) in [-1, 1].

    Raises:
        DataError: path first, for no such folder, no images, a class without images, files beside class folders, mixed sizes, a bad file.
        ImportError: without Pillow.
    """
    checks.choice("mode", mode, image_files.MODES)
    checks.choice("on_bad", on_bad, ("raise", "skip"))
    if size is not None:
        checks.integer("size", size, 1, 2**13)
    if background is not None:
        for value in background:
            checks.integer("background", value, 0, 255)
    classes, files, skipped = _scan(Path(path), on_bad)
    pictures, labels, used = [], [], []
    for file, label in files:
        try:
            pictures.append(_read(file, size, mode, background))
        except DataError as error:
            if on_bad == "raise":
                raise
            skipped.append(str(error))
            continue
        labels.append(label)
        used.append(file)
    if not pictures:
        raise DataError(f"{path}: none of its {len(files)} files can be used; the first: {skipped[0]}")
    _check_one_size(used, pictures)
    return Images(
        clean=np.asarray(scaling.to_unit(np.stack(pictures), 256)),
        labels=np.array(labels, dtype=np.int32),
        classes=classes,
        levels=256,
        skipped=tuple(skipped),
    )


def _read(file: Path, size: int | None, mode: str, background: tuple[int, int, int] | None) -> np.ndarray:
    if file.suffix.lower() not in image_files.SUFFIXES:
        raise DataError(f"{file}: its name ends in none of {', '.join(image_files.SUFFIXES)}; move it out of the folder")
    if not file.is_file():  # opening a pipe would wait for ever
        raise DataError(f"{file}: not a regular file, or a link to nothing")
    return image_files.read(file, mode=mode, size=size, background=background)


def _check_one_size(files: list[Path], pictures: list[np.ndarray]) -> None:
    first = pictures[0].shape
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != first:
            raise DataError(f"{file}: shape {picture.shape}, but {files[0]} has {first}; pass size= to resize and crop all to one size")


def _scan(root: Path, on_bad: str) -> tuple[tuple[str, ...], list[tuple[Path, int]], list[str]]:
    """Class names, every file with its label, and what is left out."""
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    try:
        visible = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root}: {error.strerror}") from error
    folders = [entry for entry in visible if entry.is_dir()]
    loose = [entry for entry in visible if not entry.is_dir()]
    if not folders:
        if not loose:
            raise DataError(f"{root}: no images in it")
        return (), [(file, NO_LABEL) for file in loose], []
    skipped = [f"{file}: lies beside the class folders {folders[0].name}, …, and so has no class; move it into one" for file in loose]
    if skipped and on_bad == "raise":
        raise DataError(skipped[0])
    files = []
    for label, folder in enumerate(folders):
        inside = _files(folder)
        if not inside:
            raise DataError(f"{folder}: a class without images; remove the folder")
        files += [(file, label) for file in inside]
    return tuple(folder.name for folder in folders), files, skipped


def _files(folder: Path) -> list[Path]:
    listed: list[Path] = []
    visited: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=_unlistable):
        real = os.path.realpath(here)
        if real in visited:
            raise DataError(f"{here}: a link to a folder that is already part of class {folder.name}")
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        listed += [Path(here, name) for name in names if not name.startswith(".")]
    return sorted(listed)


def _unlistable(error: OSError) -> None:
    raise DataError(f"{error.filename}: {error.strerror}") from error  # os.walk would pass over it
