"""Usage errors of a command, in one line each: the option, what it takes, and an example."""

import dataclasses
import re
import typing
from collections.abc import Sequence

import tyro

from gendiff.runs import ranges

_FRAME = re.compile("[╭╮╰╯│─]+")


def line(kind: type, default: object, arguments: Sequence[str], message: str) -> str:
    """The line that takes the place of tyro's message, or "" where that says enough.

    kind: the dataclass of the options, whose parts `runner` and `config`, if any, have options without a prefix.
    default: an instance of it, or None.
    """
    text = " ".join(_FRAME.sub(" ", message).split())
    if match := re.search(r"(?:Error parsing|Missing value for argument) '?(--[\w.-]+)", text):
        return _of_value(kind, default, match[1], arguments)
    if match := re.search(r"Unrecognized options: (.*)", text):
        rest = match[1].replace(" ", "")
        words = [word for word in arguments if not word.startswith("-") and rest.startswith(word.replace(" ", ""))]
        field = _field(kind, default, ["data"])
        if words and field is not None:
            free = "--data" not in arguments and tyro.conf.Positional not in typing.get_args(field[0])
            hint = f"; did you mean --data {words[0]}?" if free and arguments[0] == words[0] else ""
            return f"error: {words[0]} belongs to no option{hint}"
    return ""


def _of_value(kind: type, default: object, option: str, arguments: Sequence[str]) -> str:
    field = _field(kind, default, option.removeprefix("--").replace("-", "_").split("."))
    if field is None:
        return ""
    after = list(arguments[arguments.index(option) + 1 :]) if option in arguments else []
    end = next((number for number, word in enumerate(after) if word.startswith("--")), len(after))
    value_text, (value_type, value) = ranges.as_typed(tuple(after[:end])), field
    return (
        f"error: {option} {value_text}: it must be {ranges.described(value_type)}, as in {option} "
        f"{ranges.example(value_type, value)}"
    )


def _field(kind: object, default: object, names: list[str]) -> tuple[object, object] | None:
    """(type, default) of the field that an option names."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return None
    types = typing.get_type_hints(kind, include_extras=True)
    for part in ("runner", "config"):
        if part in types and names[0] not in types:
            inner = _field(_bare(types[part]), getattr(default, part, None), names)
            if inner is not None:
                return inner
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if names[0] not in fields:
        return None
    field_default = fields[names[0]].default
    value = getattr(default, names[0], None if field_default is dataclasses.MISSING else field_default)
    return (types[names[0]], value) if len(names) == 1 else _field(_bare(types[names[0]]), value, names[1:])


def _bare(kind: object) -> object:
    """The type without its notes."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
