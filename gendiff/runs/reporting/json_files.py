"""Frozen dataclasses as JSON files: written whole or not at all, and checked field by field when read."""

import dataclasses
import difflib
import json
import math
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from gendiff.core import files, foreign_files
from gendiff.core.errors import DataError

T = TypeVar("T")

NON_FINITE = ("nan", "inf", "-inf")
"""How JSON, which has no such numbers, holds them: as strings that `float` reads back."""


def encode(value: object) -> Any:  # JSON's own types, nested as the value is
    """The value in JSON's own types: dataclasses become dicts, tuples lists, NumPy scalars numbers, non-finite numbers
    strings.

    Raises TypeError for anything else: a config or a result holds no arrays and no functions.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): encode(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [encode(entry) for entry in value]
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, Path) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{type(value).__name__} has no place in a JSON file: convert it to numbers, text, lists or dicts first"
    )


def decode(kind: type[T], data: object, source: str) -> T:
    """`data` (as json.loads gives it) as a dataclass, or any type that its annotations may name.

    Raises DataError that starts with `source` and names the field, what it needs and what it holds. Every field without
    a default is needed, and every other field is refused.
    """
    try:
        try:
            value = msgspec.convert(data, kind, dec_hook=_decode_other)
        except msgspec.ValidationError:
            value = msgspec.convert(with_non_finite(data), kind, dec_hook=_decode_other)
    except msgspec.ValidationError as error:
        reason, _, field = str(error).partition(" - at `$")
        field = field.rstrip("`").lstrip(".")
        raise DataError(f"{source}: {field + ': ' if field else ''}{reason}") from error
    _refuse_unknown(data, encode(value), source, "")
    return value


def read(path: str | os.PathLike[str], kind: type[T]) -> T:
    """The dataclass that the file holds. Raises DataError, which starts with the path, for a missing, broken or wrong
    file.
    """
    source = os.fspath(path)
    return decode(kind, foreign_files.decoded(foreign_files.text(path), source), source)


def write(path: str | os.PathLike[str], value: object) -> Path:
    """Writes the value as indented JSON, atomically, and returns the path."""
    return write_bytes(path, (json.dumps(encode(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Replaces the file's content in one step, and returns its path."""
    with files.replacing(path) as file:
        file.write(content)
    return Path(path)


def _decode_other(kind: type, value: object) -> object:
    """The value of a type that msgspec does not know."""
    if kind is object:
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def with_non_finite(data: object) -> Any:  # nested as the data is
    """The data with the numbers that `encode` wrote as strings."""
    if isinstance(data, dict):
        return {key: with_non_finite(entry) for key, entry in data.items()}
    if isinstance(data, list):
        return [with_non_finite(entry) for entry in data]
    return float(data) if isinstance(data, str) and data in NON_FINITE else data


def _refuse_unknown(data: object, known: Any, source: str, field: str) -> None:  # known: nested as data
    """DataError for an entry that decoding has passed over: what it kept is in `known`."""
    if isinstance(data, list):
        for number, (entry, known_entry) in enumerate(zip(data, known, strict=False)):
            _refuse_unknown(entry, known_entry, source, f"{field}[{number}]")
    elif isinstance(data, dict):
        for name, entry in data.items():
            path = f"{field}.{name}" if field else name
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise DataError(
                    f"{source}: {path}: is no known field" + (f"; did you mean {near[0]!r}?" if near else "")
                )
            _refuse_unknown(entry, known[name], source, path)
