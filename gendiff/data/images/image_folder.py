"""Images from a folder of files: the class is the sub-folder, and every file that is left out is named."""

import dataclasses
import os
import stat
from pathlib import Path

import numpy as np

from gendiff.core import checks
from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import scaling
from gendiff.data.images import caption_files, image_files, random_access
from gendiff.data.images.image_set import Images
from gendiff.data.images.random_access import Source, printable

SYSTEM_NAMES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx")
"""Files and folders, in lower case, that Windows and macOS put beside pictures; names with a first dot are hidden."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder(Source):
    """The pictures under a folder, each decoded when it is read. `source` builds it."""

    files: tuple[str, ...]
    mode: str
    size: int | None
    background: tuple[int, int, int] | None

    def image(self, i: int) -> np.ndarray:
        """Decode picture i, uint8 (h, w, c)."""
        return _read(Path(self.files[i]), self.size, self.mode, self.background)

    def short_side(self, i: int) -> int | None:
        """The shorter side of picture i, from the header of its file."""
        return image_files.short_side(self.files[i]) if os.path.isfile(self.files[i]) else None

    def name(self, i: int) -> str:
        """The path of picture i."""
        return printable(self.files[i])


def source(
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    mode: str = "RGB",
    background: tuple[int, int, int] | None = None,
    on_bad: str = "raise",
    conditional: str = "auto",
    captions: bool = False,
) -> ImageFolder:
    """List every picture under `path`, at any depth, sorted by class and path; decoding waits for access.

    Every file is read once for the fingerprint, and none is decoded. `load` states what belongs to the set and what the
    options mean.

    Args:
        path: the folder.
        size: the side of the square images, 1 … 8192, or None.
        mode: "RGB" for 3 channels, "L" for 1.
        background: the colour under transparent pixels, each value 0 … 255.
        on_bad: "raise" or "skip", for files beside the class folders here, and for bad pictures in
            `random_access.scan`.
        conditional: "auto" makes a class of each folder directly under `path` if there are 2 or more; otherwise, and
            with "none", pictures at any depth have NO_LABEL, and files beside folders belong to the set.
        captions: whether the files that `caption_files.read` reads lie beside the pictures. They are no part of the
            set.

    Raises:
        DataError: path first, for no such folder, no images, a class without images, files beside class folders.
        ImportError: without Pillow.
    """
    image_files.check_options(mode, size, background)
    image_files.check_installed()
    checks.choice("on_bad", on_bad, random_access.ON_BAD)
    checks.choice("conditional", conditional, random_access.CONDITIONAL)
    root = Path(path)
    classes, listed, skipped = listing(root, on_bad, conditional, image_files.SUFFIXES)
    if captions:
        beside = caption_files.among([file for file, _ in listed])
        listed = [(file, label) for file, label in listed if file not in beside]
    if not listed:
        raise DataError(f"{printable(root)}: no images in it")
    return ImageFolder(
        labels=np.array([label for _, label in listed], np.int32),
        classes=classes,
        skipped=tuple(skipped),
        fingerprint=folder_fingerprint("images", (mode, size, background, classes), root, listed, image_files.SUFFIXES),
        on_bad=on_bad,
        files=tuple(str(file) for file, _ in listed),
        mode=mode,
        size=size,
        background=background,
    )


def load(
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    mode: str = "RGB",
    background: tuple[int, int, int] | None = None,
    on_bad: str = "raise",
) -> Images:
    """Load every image under `path`, at any depth, sorted by class and path.

    Classes are the folders directly under `path`, in order of their code points ("10" comes before "2"); without any
    folder the images have NO_LABEL. Hidden files and folders (.name) and SYSTEM_NAMES are no part of the set; links are
    followed.

    Args:
        path: the folder.
        size: the side of the square images, 1 … 8192; `image_files.read` states how it resizes and crops. None keeps
            each image as it is, and all must have one size.
        mode: "RGB" for 3 channels, "L" for 1.
        background: the colour under transparent pixels, each value 0 … 255; without one they are an error.
        on_bad: "raise" stops at the first file that cannot be used. "skip" leaves it out and adds its message to
            `skipped`; files beside the class folders are left out as well.

    Returns:
        Images with `clean` (n, h, w, c) in [-1, 1].

    Raises:
        DataError: path first, for no such folder, no images, a class without images, files beside class folders, mixed
            sizes, a bad file.
        ImportError: without Pillow.
    """
    image_files.check_options(mode, size, background)
    checks.choice("on_bad", on_bad, random_access.ON_BAD)
    classes, files, skipped = _scan(Path(path), on_bad, image_files.SUFFIXES)
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


def listing(
    root: Path, on_bad: str, conditional: str, suffixes: tuple[str, ...]
) -> tuple[tuple[str, ...], list[tuple[Path, int]], list[str]]:
    """Class names, each file with its label, and what is left out, by the rules of `source`. suffixes: of its files."""
    folders, _ = _top(root)
    if conditional == "auto" and len(folders) >= 2:
        return _scan(root, on_bad, suffixes)
    return (), [(file, NO_LABEL) for file in visible_files(root)], []


def folder_fingerprint(
    kind: str, options: tuple[object, ...], root: Path, listed: list[tuple[Path, int]], suffixes: tuple[str, ...]
) -> str:
    """The fingerprint of the files of a folder: their names and bytes, and the options."""

    def content(file: Path) -> bytes:
        """The digest of a file; nothing for what will be refused."""
        try:
            return random_access.file_digest(file) if file.is_file() and file.suffix.lower() in suffixes else b""
        except OSError:
            return b""

    files = [file for file, _ in listed]
    names = [os.fsencode(file.relative_to(root)) for file in files]
    pairs = zip(names, random_access.in_threads(content, files), strict=True)
    return random_access.fingerprint(kind, *options, *(part for pair in pairs for part in pair))


def _read(file: Path, size: int | None, mode: str, background: tuple[int, int, int] | None) -> np.ndarray:
    check_file(file, image_files.SUFFIXES)
    return image_files.read(file, mode=mode, size=size, background=background)


def check_file(file: Path, suffixes: tuple[str, ...]) -> None:
    """DataError, path first, for a file of another kind by its name, and for what is no regular file."""
    if reason := _unknown(file, suffixes):
        raise DataError(f"{printable(file)}: {reason}")
    info = random_access.status(file)
    if info is None or not stat.S_ISREG(info.st_mode):  # opening a pipe would wait for ever
        raise DataError(f"{printable(file)}: not a regular file, or a link to nothing")


def _unknown(file: Path, suffixes: tuple[str, ...]) -> str:
    """What is wrong with a file of another kind by its name, which needs no class; nothing otherwise."""
    if file.suffix.lower() in suffixes:
        return ""
    return f"unknown suffix: its name ends in none of {', '.join(suffixes)}; move it out of the folder"


def _check_one_size(files: list[Path], pictures: list[np.ndarray]) -> None:
    first = pictures[0].shape
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != first:
            raise DataError(
                f"{printable(file)}: shape {picture.shape}, but {files[0]} has {first}; "
                "pass size= to resize and crop all to one size"
            )


def _top(root: Path) -> tuple[list[Path], list[Path]]:
    """The visible folders and files directly under the root."""
    info = random_access.status(root)
    if info is None or not stat.S_ISDIR(info.st_mode):
        raise DataError(f"{printable(root)}: {'not a folder' if info else 'no such folder'}")
    try:
        visible = sorted(entry for entry in root.iterdir() if _belongs(entry.name))
    except PermissionError as error:
        raise DataError(random_access.forbidden(root)) from error
    except OSError as error:
        raise DataError(f"{printable(root)}: {error.strerror}") from error
    return [entry for entry in visible if os.path.isdir(entry)], [
        entry for entry in visible if not os.path.isdir(entry)
    ]


def _scan(
    root: Path, on_bad: str, suffixes: tuple[str, ...]
) -> tuple[tuple[str, ...], list[tuple[Path, int]], list[str]]:
    """Class names, every file with its label, and what is left out."""
    folders, loose = _top(root)
    if not folders:
        if not loose:
            raise DataError(f"{printable(root)}: no images in it")
        return (), [(file, NO_LABEL) for file in loose], []
    beside = f"has no class: it lies beside the class folders {printable(folders[0].name)}, …; move it into one"
    skipped = [f"{printable(file)}: {_unknown(file, suffixes) or beside}" for file in loose]
    files = []
    for label, folder in enumerate(folders):
        inside = visible_files(folder)
        if not inside:
            raise DataError(f"{printable(folder)}: a class without files; remove the folder")
        files += [(file, label) for file in inside]
    if skipped and on_bad == "raise":
        raise random_access.refusal(skipped, len(skipped) + len(files))
    return tuple(printable(folder.name) for folder in folders), files, skipped


def visible_files(folder: Path) -> list[Path]:
    """Every file under a folder that is not hidden, sorted."""
    listed: list[Path] = []
    visited: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=_unlistable):
        real = os.path.realpath(here)
        if real in visited:
            raise DataError(f"{printable(here)}: a link to a folder that is already part of {printable(folder.name)}")
        visited.add(real)
        folders[:] = sorted(filter(_belongs, folders))
        listed += [Path(here, name) for name in filter(_belongs, names)]
    return sorted(listed)


def _belongs(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in SYSTEM_NAMES


def _unlistable(error: OSError) -> None:
    path, denied = error.filename, isinstance(error, PermissionError)
    raise DataError(
        random_access.forbidden(path) if denied else f"{printable(path)}: {error.strerror}"
    ) from error  # os.walk would pass over it
