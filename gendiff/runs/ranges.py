"""Ranges of the numbers of a configuration, which the type of each field states, and the check of a whole configuration
before a run.
"""

import dataclasses
import math
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import errors

T = TypeVar("T")

LARGEST = 2**31 - 1
LARGEST_SEED = 2**32 - 1
Count = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Several = Annotated[int, msgspec.Meta(ge=2, le=LARGEST)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_SEED)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Side = Annotated[int, msgspec.Meta(ge=1, le=8192)]
"""Of a picture, in pixels."""
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Decay = Annotated[float, msgspec.Meta(ge=0, lt=1)]
DISTINCT = "each of them once"
"""Beside the type of a tuple: no entry may repeat."""
Some = Annotated[tuple[T, ...], msgspec.Meta(min_length=1)]
Distinct = Annotated[tuple[T, ...], msgspec.Meta(min_length=1), DISTINCT]


class Config(Protocol):
    """The numbers of one experiment: a frozen dataclass of its own. A field `seeds` is known to the framework."""

    __dataclass_fields__: ClassVar[dict[str, Any]]  # as Python's own stubs say what a dataclass is

    def __hash__(self) -> int: ...


def check(numbers: Config, within: str = "") -> None:
    """ConfigError, with option, value and range, unless every field of the dataclass lies in the range of its type; a
    float is finite.

    within: what precedes the names of its options, such as "thresholds.".
    """
    types = typing.get_type_hints(type(numbers), include_extras=True)
    for field in dataclasses.fields(numbers):
        value, option = getattr(numbers, field.name), within + field.name.replace("_", "-")
        nested = dataclasses.is_dataclass(value)
        if nested:
            check(value, f"{option}.")
        elif not _fits(value, types[field.name]):
            kind, default = types[field.name], None if field.default is dataclasses.MISSING else field.default
            requirement = f"it must be {described(kind)}"
            raise ConfigError(
                f"--{option} {as_typed(value)}: {requirement}"
                + (f", as in --{option} {example(kind, default)}" if value == () else "")
            )


def counted(option: str, value: int | None, most: int | None = None) -> None:
    """ConfigError for a number of an option outside 1 … most, where there is a most; None is left to others."""
    if value is not None and (value < 1 or (most is not None and value > most)):
        raise ConfigError(
            f"--{option} {value} " + ("must be at least 1" if most is None else f"is outside 1 … {most:,}")
        )


def trained_seed(seed: int | None, seeds: tuple[int, ...]) -> int:
    """The training seed of a run that --trained-seed names, the first one for None. ConfigError for none of the
    run's.
    """
    chosen = seeds[0] if seed is None else seed
    among("trained-seed", chosen, "seeds", seeds)
    return chosen


def replaceable(file: Path, force: bool) -> None:
    """ConfigError for a file that is there and that no --force lets be replaced."""
    if file.exists() and not force:
        raise ConfigError(f"{file} exists: add --force to replace it, or choose another --out")


def known(option: str, values: Iterable[str], names: Iterable[str]) -> None:
    """ConfigError, with the nearest name, for a word of an option that is none of the names."""
    there = list(names)
    for word in values:
        if word not in there:
            raise ConfigError(f"--{option} {word!r} is unknown; {errors.hint(word, there)}")


def among(option: str, value: T, option_of_all: str, choices: Iterable[T]) -> None:
    """ConfigError unless the value of one option is among those of another."""
    there = tuple(choices)
    if value not in there:
        raise ConfigError(f"--{option} {as_typed(value)} is none of --{option_of_all} {as_typed(there)}")


def rising(option: str, values: tuple[float, ...]) -> None:
    """ConfigError unless each value is above the one before."""
    if any(later <= earlier for earlier, later in zip(values, values[1:], strict=False)):
        raise ConfigError(f"--{option} {as_typed(values)}: each number must be above the one before")


def at_most(option: str, value: float, limit_option: str, limit: float) -> None:
    """ConfigError where the value of one option is above that of another."""
    if value > limit:
        raise ConfigError(f"--{option} {value} is above --{limit_option} {limit}")


def as_typed(value: object) -> str:
    """The value as it is typed, at most 60 letters of it."""
    words = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    text = words or "(nothing)"
    return text if len(text) <= 60 else f"{text[:59]}…"


def described(kind: object) -> str:
    """The type and range of a field in words."""
    if typing.get_origin(kind) is Annotated:
        base, *notes = typing.get_args(kind)
        metas = [note for note in notes if isinstance(note, msgspec.Meta)]
        limits = [limit for meta in metas for limit in _limits(meta)]
        if typing.get_origin(base) is tuple and metas:
            return ", ".join([f"{_counted(metas[0])}{described(base)}", *(note for note in notes if note == DISTINCT)])
        return ", ".join([" ".join([described(base), *limits]), *(note for note in notes if note == DISTINCT)])
    if typing.get_origin(kind) is tuple:
        entries = typing.get_args(kind)
        count = "" if entries[-1] is ... else f"{len(entries)} "
        return f"{count}values separated by spaces, each {described(entries[0])}"
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(kind)))}"
    words: dict[object, str] = {
        int: "a whole number",
        float: "a finite number",
        str: "text",
        bool: "True or False",
        type(None): "None",
    }
    return words.get(kind) or ", or ".join(map(described, typing.get_args(kind)))


def example(kind: object, default: object = None) -> str:
    """A value of a field as it is typed: the default, or where that is None one within the range."""
    if default not in (None, (), ""):
        return as_typed(default)
    if typing.get_origin(kind) is Annotated:
        base, *notes = typing.get_args(kind)
        meta = next((note for note in notes if isinstance(note, msgspec.Meta)), msgspec.Meta())
        low, high = (
            next((end for end in ends if end is not None), None) for ends in ((meta.ge, meta.gt), (meta.le, meta.lt))
        )
        if base is int:
            return str(255 if high == 255 else max(low or 0, min(64, LARGEST if high is None else high)))
        if base is float:
            return "0.1" if (low or 0) < 0.1 and (high is None or high > 0.1) else str(low)
        return example(base)
    if typing.get_origin(kind) is tuple:
        entries = typing.get_args(kind)
        return " ".join([example(entries[0])] * (1 if entries[-1] is ... else len(entries)))
    if typing.get_origin(kind) is Literal:
        return str(typing.get_args(kind)[0])
    words: dict[object, str] = {int: "1", float: "0.1", str: "NAME", bool: "True"}
    return words.get(kind) or example(next((each for each in typing.get_args(kind) if each is not type(None)), str))


def _fits(value: object, kind: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    entries = value if isinstance(value, tuple) else (value,)
    if any(isinstance(entry, float) and not math.isfinite(entry) for entry in entries):
        return False
    return DISTINCT not in getattr(kind, "__metadata__", ()) or len(set(entries)) == len(entries)


def _counted(meta: msgspec.Meta) -> str:
    """How many values there may be."""
    least, most = meta.min_length, meta.max_length
    if least is not None and most is not None:
        return f"{least} or {most} " if most == least + 1 else f"{least} to {most} "
    return f"{least} or more " if least is not None else f"up to {most} " if most is not None else ""


def _limits(meta: msgspec.Meta) -> Iterator[str]:
    if meta.ge is not None and meta.le is not None:
        yield f"from {meta.ge} to {meta.le}"
    else:
        one_sided = (meta.ge is None and meta.gt is None) or (meta.le is None and meta.lt is None)
        ends = [("from" if one_sided else "at least", meta.ge), ("above", meta.gt)]
        ends += [("to" if one_sided else "at most", meta.le), ("below", meta.lt)]
        if words := " and ".join(f"{word} {end}" for word, end in ends if end is not None):
            yield words
    if meta.multiple_of is not None:
        yield f"and a multiple of {meta.multiple_of}"
