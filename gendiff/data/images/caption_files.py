"""Captions of a person's own pictures: a text file beside each one, or one metadata.jsonl in their folder."""

import os
from collections.abc import Sequence
from pathlib import Path

from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.data.images.random_access import printable

BESIDE, TABLE = ".txt", "metadata.jsonl"
FILE, TEXT = "file_name", "text"
"""What a line of a metadata.jsonl calls the picture and its caption."""
NAMED = 5
"""Pictures without a caption that an error names."""


def read(pictures: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Read the caption of each picture: 01.txt beside 01.png, or its line of a metadata.jsonl.

    Args:
        pictures: their files.

    Returns:
        One caption per picture, without white space around it.

    Raises:
        DataError: path first, for pictures without a caption or with two, a caption without a letter, files that are no
            text in UTF-8, and a damaged metadata.jsonl, or one that names a picture twice.
    """
    files = [Path(picture) for picture in pictures]
    tables = {folder: _table(folder / TABLE) for folder in sorted({file.parent for file in files})}
    captions, missing = [], []
    for file in files:
        beside, listed = file.with_suffix(BESIDE), tables[file.parent].get(file.name)
        if beside.is_file() and listed is not None:
            raise DataError(f"{printable(file)}: has a caption in {beside.name} and one in {TABLE}: keep one of them")
        caption = foreign_files.text(beside, encoding="utf-8-sig").strip() if beside.is_file() else listed
        if caption is None:
            missing.append(file)
        elif not caption:
            raise DataError(f"{printable(file)}: its caption is empty: write what the picture shows")
        else:
            captions.append(caption)
    if missing:
        names = ", ".join(printable(file.name) for file in missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
        how = (
            f"write each into a text file of the same name, as {printable(missing[0].with_suffix(BESIDE).name)}, "
            f"or all into {TABLE}"
        )
        raise DataError(
            f"{printable(missing[0].parent)}: {len(missing)} of {len(files)} pictures have no caption ({names}): {how}"
        )
    return tuple(captions)


def among(files: Sequence[Path]) -> frozenset[Path]:
    """The files that hold captions of others: each metadata.jsonl, and each text file beside a file of its name."""
    others = {file.with_suffix("") for file in files if file.suffix != BESIDE}
    return frozenset(
        file for file in files if file.name == TABLE or (file.suffix == BESIDE and file.with_suffix("") in others)
    )


def _table(file: Path) -> dict[str, str]:
    """Name of each picture -> its caption, as a metadata.jsonl says; none without the file."""
    if not file.is_file():
        return {}
    captions: dict[str, str] = {}
    for number, line in enumerate(foreign_files.text(file, encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        entry = foreign_files.decoded(line, f"{printable(file)}: line {number}")
        name, caption = (entry.get(FILE), entry.get(TEXT)) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(caption, str):
            raise DataError(f'{printable(file)}: line {number} must hold {{"{FILE}": …, "{TEXT}": …}}, both texts')
        if name in captions:
            raise DataError(f"{printable(file)}: line {number} names {name} a second time")
        captions[name] = caption.strip()
    return captions
