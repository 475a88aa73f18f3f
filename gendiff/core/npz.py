"""Safe reading of `.npz` and `.npy` files: completely or not at all, and without unpickling."""

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from gendiff.core import foreign_files
from gendiff.core.errors import DataError

T = TypeVar("T")
_LARGE, _MOST_EXPANSION = 2**28, 200
"""An array of more than 256 MiB that was compressed to less than 1/200 of its size is taken for a trap."""


def existing(file: Path, *suffixes: str) -> Path:
    """Return the file itself.

    Raises:
        DataError: path first, unless it is a regular file with one of the suffixes.
    """
    if file.suffix.lower() not in suffixes:
        raise DataError(f"{file}: must be named {' or '.join(suffixes)}")
    return foreign_files.regular(file)


def guarded(file: Path, read: Callable[[], T]) -> T:
    """Return what `read` reads of the file.

    Raises:
        DataError: path first, for whatever goes wrong in it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of headers it has to guess at
            return read()
    except DataError:
        raise
    except Exception as error:  # a forged header can trip zipfile, zlib, struct, tokenize or the allocator
        raise DataError(f"{file}: not a whole NumPy file without objects: {type(error).__name__}: {error}") from error


def names(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of an archive's arrays, in order."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


def entry(file: Path, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return the entry of an archive's array.

    Raises:
        DataError: unless the archive has exactly one array of that name, and for an array that grows beyond reason.
    """
    members = names(archive)
    if members.count(name) != 1:
        raise DataError(
            f"{file}: has {members.count(name)} arrays named {name!r}, one is needed; its arrays are "
            f"{', '.join(members) or 'none'}"
        )
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > _LARGE and info.file_size > _MOST_EXPANSION * info.compress_size:
        raise DataError(
            f"{file}: array {name} grows from {info.compress_size} to {info.file_size} bytes; store it with "
            "numpy.savez, uncompressed"
        )
    return info


def read(file: Path, members: list[str]) -> dict[str, np.ndarray]:
    """Read arrays of an `.npz` by name; `guarded` should stand around it.

    Raises:
        DataError: as `entry` and `read_array` do.
    """
    with zipfile.ZipFile(file) as archive:
        for name in members:
            entry(file, archive, name)
        # read whole, because only then does zipfile compare the checksum
        return {name: read_array(f"{file}: array {name}", io.BytesIO(archive.read(f"{name}.npy"))) for name in members}


def read_array(name: str, stream: IO[bytes] | io.BufferedIOBase) -> np.ndarray:
    """Read one array to the end of the stream.

    Raises:
        DataError: when bytes are left over.
    """
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise DataError(f"{name}: holds more bytes than its shape {array.shape} says")
    return array
