"""The border for files of strangers: kind, size, text, JSON and numbers are bounded before anything uses them.

Every reader of a file that somebody else may have written passes through here, settings, results and locks included.
"""

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError

Config = Mapping[str, Any]  # values come from JSON: the reader of each setting checks its type
"""Settings of a model or a run by name, as read from JSON."""
LARGEST = 2**27
"""Bytes of a text. The largest tokenizers have some 2**25."""
DEEPEST = 64
"""Levels of lists and objects in JSON."""
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON writes the halves of a character."""
MOST_DIGITS = 40
"""Digits of an integer in JSON. Tokenizers write 10**30 for no limit."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the folder of a user in place of `~` or `~name`.

    Raises:
        ConfigError: for a user whom this system does not know.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{os.fspath(path)}: this system knows no user of that name") from error


def regular(path: str | os.PathLike[str], needed: str = "") -> Path:
    """Return the path of a file that can be read to its end: no folder, pipe or device.

    Args:
        path: of the file.
        needed: ends the message for a missing file.

    Raises:
        DataError: path first.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a name that no file can have
        raise DataError(f"{file}: no such file{needed}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{file}: not a regular file{needed}")
    return file


def content(path: str | os.PathLike[str], largest: int = LARGEST) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: of the file.
        largest: most bytes that it may have.

    Raises:
        DataError: path first, for a missing or larger file, none, and one that changes while it is read.
    """
    file = regular(path)
    try:
        with open(file, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if size > largest:
                raise DataError(f"{file}: has {size} bytes, more than {largest}")
            result = opened.read(size + 1)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    if len(result) != size:
        raise DataError(f"{file}: changes while it is read")
    return result


def text(path: str | os.PathLike[str], largest: int = LARGEST, encoding: str = "utf-8") -> str:
    """Return the text of a regular file, with every line ending as one newline.

    Args:
        path: of the file.
        largest: most bytes that it may have.
        encoding: "utf-8", or "utf-8-sig" where a mark may stand before it.

    Raises:
        DataError: as `content` does, and for what is no UTF-8.
    """
    try:
        result = content(path, largest).decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 at byte {error.start}") from error
    return result.replace("\r\n", "\n").replace("\r", "\n")


def decoded(content: str | bytes, source: str = "", *, infinite: bool = False) -> Any:  # of any JSON
    """Return what JSON holds, with at most 64 levels, integers of at most 40 digits, whole characters and no NaN.

    Args:
        content: the JSON, in UTF-8.
        source: where it stands, which begins the message.
        infinite: take Infinity, which Python writes and JSON has not.

    Raises:
        DataError: for anything else.
    """
    try:
        written = content if isinstance(content, str) else content.decode()
        value = _DECODERS[infinite].decode(written)
        _check_depth(value)
        if _HALF.search(written):
            json.dumps(value, ensure_ascii=False).encode()  # refuses one without its other half
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source + ': ' if source else ''}not JSON: {error}") from error
    return value


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within, wrong content is an error of its file: DataError or CheckpointMismatchError, path first.

    So is what Python raises for a value of a kind or size that nobody has foreseen.
    """
    name = os.fspath(path)
    try:
        yield
    except DataError:
        raise
    except CheckpointMismatchError as error:
        if str(error).startswith(name):
            raise
        raise CheckpointMismatchError(f"{name}: {error}") from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{name}: {error}") from error


def json_object(path: str | os.PathLike[str]) -> dict[str, Any]:  # of any JSON
    """Return the object that a file of JSON holds.

    Raises:
        DataError: path first, as `text` and `decoded` do, and for what is no object.
    """
    value = decoded(text(path), os.fspath(path), infinite=True)  # as schedulers of diffusers have it
    if not isinstance(value, dict):
        raise DataError(f"{path}: must hold one JSON object, got {type(value).__name__}")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits, at most {MOST_DIGITS} are read")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:MOST_DIGITS]} is too large")
    return number


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _infinite(constant: str) -> float:
    return _refuse(constant) if constant == "NaN" else float(constant)


_DECODERS = {
    infinite: json.JSONDecoder(
        parse_int=_integer, parse_float=_finite, parse_constant=_infinite if infinite else _refuse
    )
    for infinite in (False, True)
}


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            part
            for each in level
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"more than {DEEPEST} levels of lists and objects")
