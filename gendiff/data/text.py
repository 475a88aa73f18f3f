"""Real texts: the reference manual that every Python brings, or files of your own; and rows of tokens cut from them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from gendiff.core import checks
from gendiff.core.errors import DataError
from gendiff.data import held_out as splitting

SUFFIXES = (".txt", ".md", ".rst")


class Documents(NamedTuple):
    """Texts by name.

    Attributes:
        names: of each text.
        texts: as many.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]


def python_manual() -> Documents:
    """Return the topics of Python's reference manual, in the order of their names: about 80 texts, of which two may be equal.

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


def read(path: str | os.PathLike) -> Documents:
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
    if not start.is_file():
        raise DataError(f"{start}: {'not a regular file' if start.exists() else 'no such file or folder'}")
    return Documents((start.name,), (_text(start),))


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
    """Lay documents behind each other, each with the token `end` behind it, and cut the line into rows; a last part is left out.

    A loss of the next token learns the first token of a row from nothing, and the others from the row so far, which may hold the end of
    another document.

    Args:
        documents: (n,) ids of the tokens of each.
        length: tokens of a row, at least 2.
        end: id of the token between documents.

    Raises:
        ValueError: for a length below 2, or where all documents together are shorter than one row.
    """
    checks.integer("length", length, 2)
    line = np.concatenate([part for document in documents for part in (np.asarray(document, np.int32), np.array([end], np.int32))])
    count = len(line) // length
    if not count:
        raise ValueError(f"{len(line)} tokens are less than one row of length = {length}")
    return line[: count * length].reshape(count, length)


def _documents(pairs: object) -> Documents:
    names, texts = zip(*sorted(pairs), strict=True)  # type: ignore[call-overload]
    return Documents(names, texts)


def _text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is no UTF-8 at byte {error.start}: save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    if not text.strip():
        raise DataError(f"{file}: holds no text")
    return text
