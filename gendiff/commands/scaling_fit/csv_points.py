"""A CSV of somebody's trainings as points of a scaling law: columns by any of their usual names, and errors that name
line and column.
"""

import csv
import dataclasses
import difflib
import io
import math
import os
import re

import numpy as np

from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.scaling import fits

SPELLINGS = {
    "parameters": (
        "n",
        "parameters",
        "params",
        "num params",
        "num parameters",
        "model size",
        "non embedding parameters",
        "model parameters",
    ),
    "tokens": ("d", "tokens", "training tokens", "num tokens", "train tokens", "training data", "dataset size"),
    "flops": ("c", "flop", "flops", "compute", "training flop", "training flops", "training compute", "total flops"),
    "loss": ("l", "loss", "val loss", "validation loss", "eval loss", "test loss", "final loss", "cross entropy"),
}
"""What each column may be called; capitals, spaces, hyphens and underscores do not matter, nor does a unit in
brackets.
"""
SUFFIX = re.compile(r"[-+]?[\d.]+ ?[kKmMbBtT]$")
LARGEST = 2**26
"""Bytes of a file: a million trainings are smaller."""


@dataclasses.dataclass(frozen=True)
class Read:
    """The points of a file. columns: what each of them was called there. lines: (n,) the line of each point."""

    points: fits.Points
    columns: dict[str, str]
    lines: np.ndarray


def read(path: str | os.PathLike[str]) -> Read:
    """The points of a file that separates by commas, semicolons or tabs, and whose first line names the columns.

    It needs parameters, loss, and tokens or FLOPs; tokens are FLOPs / (6 · parameters) where they are not given. Other
    columns and empty lines are passed over. Raises DataError, with path, line and column, for anything that is missing,
    doubled or no number above 0.
    """
    file = os.fspath(path)
    rows = _rows(file)
    header_line, header = rows[0]
    at = _columns(file, header_line, header)
    numbers = {kind: np.empty(len(rows) - 1) for kind in at}
    for number, (line, cells) in enumerate(rows[1:]):
        if len(cells) != len(header):
            raise DataError(f"{file}: line {line} has {len(cells)} cells, and the header names {len(header)} columns")
        for kind, column in at.items():
            numbers[kind][number] = _number(file, line, header[column].strip(), cells[column].strip())
    lines = np.array([line for line, _ in rows[1:]], np.int64)
    try:
        points = fits.points(numbers["parameters"], numbers.get("tokens"), numbers["loss"], numbers.get("flops"))
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error
    return Read(points, {kind: header[column].strip() for kind, column in at.items()}, lines)


def _rows(file: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of every line that is not empty; the header and one more at least."""
    text = foreign_files.text(file, LARGEST, "utf-8-sig")
    first = next(filter(str.strip, text.splitlines()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num} is no CSV ({error})") from error
    if len(rows) < 2:
        raise DataError(
            f"{file}: holds {'a header and no line below it' if rows else 'nothing'}: one line per training is needed"
        )
    return rows


def _columns(file: str, line: int, header: list[str]) -> dict[str, int]:
    """Where each kind of number stands."""
    plain = [_plain(name) for name in header]
    by_kind: dict[str, int] = {}
    for kind, names in SPELLINGS.items():
        known = {_plain(name) for name in names}
        columns = [column for column, name in enumerate(plain) if name in known]
        if len(columns) > 1:
            both = " and ".join(repr(header[column].strip()) for column in columns[:2])
            raise DataError(f"{file}: line {line} names {kind} twice, {both}: leave one column")
        if columns:
            by_kind[kind] = columns[0]
    missing = [kind for kind in ("parameters", "loss") if kind not in by_kind]
    if "tokens" not in by_kind and "flops" not in by_kind:
        missing.insert(1, "tokens or flops")
    if missing:
        raise DataError(f"{file}: line {line} names no column of {missing[0]}; {_hint(missing[0], header)}")
    return by_kind


def _hint(missing: str, header: list[str]) -> str:
    """The column that may have been meant, and the names that are known."""
    names = [name for kind in missing.split(" or ") for name in SPELLINGS[kind]]
    near = difflib.get_close_matches(missing, [name.strip().lower() for name in header], n=1)
    there = ", ".join(name.strip() for name in header)[:80]
    question = f"is it {near[0]!r}? " if near else ""
    return f"{question}call it one of: {', '.join(names)} (the columns are: {there})"


def _number(file: str, line: int, column: str, cell: str) -> float:
    """A finite number above 0."""
    where = f"{file}: line {line}, column {column!r}"
    try:
        value = float(cell)
    except ValueError:
        fix = "write it as 7e10, without a suffix" if SUFFIX.match(cell) else "a number above 0 is needed"
        raise DataError(
            f"{where}: {cell[:40]!r} is no number: {fix}" if cell else f"{where}: is empty: a number above 0 is needed"
        ) from None
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"{where}: {cell} must be finite and above 0")
    return value


def _plain(name: str) -> str:
    """Letters and digits alone, without what stands in brackets."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\(.*?\)|\[.*?\]", "", name).lower())
