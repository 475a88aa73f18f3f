"""Frozen dataclasses as JSON files: written whole or not at all, and checked field by field when read."""

import dataclasses
import difflib
import json
import math
import os
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gendiff.core.errors import DataError

T = TypeVar("T")

NON_FINITE = ("nan", "inf", "-inf")
"""How JSON, which has no such numbers, holds them: as strings that `float` reads back."""


def encode(value: Any) -> Any:
    """The value in JSON's own types: dataclasses become dicts, tuples lists, NumPy scalars numbers, non-finite numbers strings.

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
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON file: convert it to numbers, text, lists or dicts first")


def decode(kind: type[T], data: Any, place: str) -> T:
    """`data` (as json.loads gives it) as a dataclass, or any type that its annotations may name.

    Raises DataError that starts with `place` and names the field, what it needs and what it holds. Every field without a default is needed.
    """
    return _decode(kind, data, place, "")


def read(path: str | os.PathLike[str], kind: type[T]) -> T:
    """The dataclass that the file holds. Raises DataError, which starts with the path, for a missing, broken or wrong file."""
    place = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = json.loads(text, parse_constant=_refuse_constant)
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{place}: is not valid JSON ({error})") from error
    return decode(kind, data, place)


def write(path: str | os.PathLike[str], value: Any) -> Path:
    """Writes the value as indented JSON, atomically, and returns the path."""
    return write_bytes(path, (json.dumps(encode(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Replaces the file's content in one step: whoever reads it, or finds it after a crash, sees the old or the new, never a part."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)
    return target


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # the new name, too, must survive a power cut
    finally:
        os.close(handle)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _decode(kind: Any, data: Any, place: str, field: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin is typing.Literal:
        return (
            data
            if data in arguments and not isinstance(data, bool)
            else _fail(place, field, f"one of {', '.join(map(str, arguments))}", data)
        )
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, data, place, field)
    if origin in (tuple, list):
        return _decode_sequence(origin, arguments, data, place, field)
    if origin is dict:
        entries = data if isinstance(data, dict) else _fail(place, field, "an object", data)
        return {key: _decode(arguments[1], entry, place, _join(field, key)) for key, entry in entries.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, place, field)
    return _decode_scalar(kind, data, place, field)


def _decode_scalar(kind: Any, data: Any, place: str, field: str) -> Any:
    if kind is type(None) or kind is None:
        return data if data is None else _fail(place, field, "null", data)
    if kind is float and ((isinstance(data, int | float) and not isinstance(data, bool)) or (isinstance(data, str) and data in NON_FINITE)):
        return float(data)
    if kind is Path and isinstance(data, str):
        return Path(data)
    exact = isinstance(data, kind) and (kind is bool or not isinstance(data, bool))
    return data if exact and kind is not float else _fail(place, field, _NAMES.get(kind, str(kind)), data)


def _decode_union(arguments: tuple[Any, ...], data: Any, place: str, field: str) -> Any:
    failures = []
    for option in arguments:
        try:
            return _decode(option, data, place, field)
        except DataError as error:
            failures.append(error)
    raise next((error for error, option in zip(failures, arguments, strict=True) if option is not type(None)), failures[0])


def _decode_sequence(origin: Any, arguments: tuple[Any, ...], data: Any, place: str, field: str) -> Any:
    entries = data if isinstance(data, list) else _fail(place, field, "a list", data)
    if origin is tuple and Ellipsis not in arguments:
        if len(entries) != len(arguments):
            _fail(place, field, f"a list of {len(arguments)}", data)
        each = arguments
    else:
        each = (arguments[0],) * len(entries)
    return origin(_decode(kind, entry, place, f"{field}[{index}]") for index, (kind, entry) in enumerate(zip(each, entries, strict=True)))


def _decode_dataclass(kind: Any, data: Any, place: str, field: str) -> Any:
    entries = data if isinstance(data, dict) else _fail(place, field, "an object", data)
    hints = typing.get_type_hints(kind)
    known = {each.name: each for each in dataclasses.fields(kind) if each.init}
    for name in entries.keys() - known.keys():
        near = difflib.get_close_matches(name, known, n=1)
        raise DataError(f"{place}: {_join(field, name)}: is no field of {kind.__name__}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for name, each in known.items():
        needed = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if needed and name not in entries:
            raise DataError(f"{place}: {_join(field, name)}: is missing")
    values = {name: _decode(hints[name], entry, place, _join(field, name)) for name, entry in entries.items()}
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise DataError(f"{place}: {field + ': ' if field else ''}{error}") from error


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _fail(place: str, field: str, need: str, data: Any) -> Any:
    shown = json.dumps(data, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    raise DataError(f"{place}: {field + ': ' if field else ''}needs {need}, holds {shown}")


_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number", dict: "an object", list: "a list"}
