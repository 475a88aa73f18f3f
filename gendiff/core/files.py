"""Atomic writing of files: completely or not at all."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HALF_WRITTEN = ".*.tmp"
"""Pattern of the names under which a killed process may leave what it was writing."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends.

    Whoever reads the path, or finds it after a crash, sees its old or its new content, never a part. A killed process
    may leave a hidden file `.NAME.….tmp` beside it.

    Args:
        path: the file; its folder exists.

    Raises:
        OSError: with the path, where it cannot be written.
    """
    with replaced(path) as temporary, open(temporary, "wb") as file:
        yield file


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name under which to write what takes the place of `path` when the block ends; else as `replacing`.

    Args:
        path: the file; its folder exists.

    Raises:
        OSError: with the path, where it cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")  # several hosts may write one file
    try:
        with naming(target):
            yield temporary
            _sync(temporary, os.O_RDWR)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _sync(target.parent, os.O_RDONLY)  # the new name, too, must survive a power cut


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give an OSError that names no file, as that of a write to a full disk, this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = os.fspath(path)
        raise


def is_url(name: str | os.PathLike[str]) -> bool:
    """Whether a name is an address such as https://…; a local path is none."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", os.fspath(name)) is not None


def _sync(path: Path, how: int) -> None:
    handle = os.open(path, how)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
