"""Real texts: the reference manual and the sources of Python, or your own files; and rows of tokens cut from them."""

import contextlib
import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from gendiff.core import checks, foreign_files
from gendiff.core.errors import DataError
from gendiff.data.images import held_out as splitting

SUFFIXES = (".txt", ".md", ".rst")
LARGEST = 2**32
"""Bytes of a file."""
LONG_LINE = 20
"""Letters from which on a line counts in `without_copies`; shorter ones stand in many texts."""
_NO_SOURCES = {"site-packages", "dist-packages", "test", "tests", "idle_test", "pydoc_data"}
_MACHINE = "_sysconfigdata"
"""How files begin that differ from machine to machine."""


class Documents(NamedTuple):
    """Texts by name.

    Attributes:
        names: of each text.
        texts: as many.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]


def python_manual() -> Documents:
    """Return the topics of Python's reference manual, in the order of their names: about 80 texts; two may be equal.

    They are those of the Python that runs, and differ between its versions. Licence: that of Python (PSF).

    Raises:
        DataError: where Python was installed without them.
    """
    try:
        from pydoc_data import topics
    except ImportError as error:
        raise DataError(
            "this Python was installed without its manual (pydoc_data.topics): take another Python, or your own files"
        ) from error
    return _documents(topics.topics.items())


def python_sources() -> Documents:
    """Return the sources of the standard library of Python, in the order of their names: about 500 files, 10 MB.

    Left out are tests, what pip has installed, the manual, and files that are empty or no UTF-8. Versions and
    distributions of Python differ in what they bring. Licence: that of Python (PSF).

    Raises:
        DataError: where there are none, as where Python was installed compiled.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    sources: list[tuple[str, str]] = []
    for file in root.rglob("*.py"):
        inner = file.relative_to(root)
        if not _NO_SOURCES.intersection(inner.parts) and not file.name.startswith(_MACHINE) and file.is_file():
            with contextlib.suppress(DataError):
                sources.append((inner.as_posix(), _text(file)))
    if not sources:
        raise DataError(
            f"{root}: holds no sources of Python's standard library: take another Python, or your own files"
        )
    return _documents(sources)


def without_copies(documents: Documents, share: float = 0.5) -> Documents:
    """Leave out texts that mostly repeat others: those with more than a share of their long lines in texts before them.

    Also known as: deduplication.

    The order is that of the documents. Lines count without the space around them, from 20 letters on, each as often as
    it stands there.

    Args:
        documents: any number.
        share: of the long lines, in [0, 1]. 0 leaves out every text that has one in common with another.

    Raises:
        ValueError: for a share outside this range.
    """
    checks.in_range("share", share, 0.0, 1.0)
    earlier: set[str] = set()
    remaining: list[tuple[str, str]] = []
    for name, words in zip(documents.names, documents.texts, strict=True):
        lines = [line for line in map(str.strip, words.splitlines()) if len(line) >= LONG_LINE]
        if sum(line in earlier for line in lines) <= share * len(lines):
            remaining.append((name, words))
            earlier.update(lines)
    return Documents(*(tuple(column) for column in zip(*remaining, strict=True))) if remaining else Documents((), ())


def read(path: str | os.PathLike[str]) -> Documents:
    """Read one text, or all texts of a folder and the folders in it, in the order of their names.

    Args:
        path: a file, or a folder whose files `.txt`, `.md` and `.rst` are read.

    Raises:
        DataError: path first, for no text, an empty one, or one that is not UTF-8.
    """
    start = Path(path)
    if start.is_dir():
        files = sorted(file for file in start.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise DataError(f"{start}: holds no text; files named {', '.join(SUFFIXES)} are read")
        return _documents((file.relative_to(start).as_posix(), _text(file)) for file in files)
    return Documents((start.name,), (_text(foreign_files.regular(start, " or folder")),))


def split(documents: Documents, held_out: float = 0.1, *, seed: int) -> tuple[Documents, Documents]:
    """Split documents into those that are trained on and those that are held out; equal texts lie on one side.

    Args:
        documents: at least 2.
        held_out: share of the documents, in (0, 1).
        seed: 0 … 2³² - 1.

    Raises:
        ValueError: for numbers outside these ranges, and where one side would be empty.
    """
    trained, out = splitting.rows([text.encode() for text in documents.texts], held_out, seed=seed)
    if not trained.size or not out.size:
        raise ValueError(f"held_out = {held_out} of {len(documents.texts)} documents leaves one side empty")
    first, second = ([(documents.names[row], documents.texts[row]) for row in rows] for rows in (trained, out))
    return _documents(first), _documents(second)


def rows(documents: Sequence[np.ndarray], length: int, end: int) -> Int32[np.ndarray, "rows length"]:
    """Concatenate documents, each with the token `end` behind it, and cut the line into rows; a rest is left out.

    Also known as: sequence packing. A loss of the next token learns the first token of a row from nothing, and the
    others from the row so far, which may hold the end of another document.

    Args:
        documents: (n,) ids of the tokens of each.
        length: tokens of a row, at least 2.
        end: id of the token between documents.

    Raises:
        ValueError: for a length below 2, or where all documents together are shorter than one row.
    """
    checks.integer("length", length, 2)
    line = np.concatenate(
        [part for document in documents for part in (np.asarray(document, np.int32), np.array([end], np.int32))]
    )
    count = len(line) // length
    if not count:
        raise ValueError(f"{len(line)} tokens are less than one row of length = {length}")
    return line[: count * length].reshape(count, length)


def _documents(pairs: object) -> Documents:
    names, texts = zip(*sorted(pairs), strict=True)  # type: ignore[call-overload]
    return Documents(names, texts)


def _text(file: Path) -> str:
    text = foreign_files.text(file, LARGEST)
    if not text.strip():
        raise DataError(f"{file}: holds no text")
    return text
