"""The fields of a JSON request: each reader refuses a value that does not fit, with its name and what is allowed."""

import secrets
from collections.abc import Mapping, Sequence

import msgspec

from gendiff.commands.serve.api_errors import NOT_FOUND, ApiError
from gendiff.runs import errors
from gendiff.runs.ranges import LARGEST_SEED

SHOWN = 60
"""Characters of what a request says that an error repeats."""


def decoded(body: bytes, example: str) -> Mapping[str, object]:
    """The fields in the body of a POST. example: of a body. Raises ApiError for what is no JSON object."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ApiError(f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(fields, dict):
        raise ApiError(f"the body must be a JSON object, as in {example}, got {excerpt(fields)}")
    return fields


def known(fields: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    """The fields that say something: null stands for none. Raises ApiError for a field that has none of the names."""
    if unknown := [name for name in fields if name not in names]:
        name = unknown[0][:SHOWN]
        raise ApiError(f"{name!r} is no field of this request; {errors.hint(name, names)}", field=printable(name))
    return {name: value for name, value in fields.items() if value is not None}


def printable(name: str) -> str:
    """The beginning of a name, without what a terminal obeys."""
    return repr(name[:SHOWN])[1:-1]


def check_model(fields: Mapping[str, object], name: str) -> None:
    """Raises ApiError for the name of another model."""
    model = fields.get("model", name)
    if model != name:
        message = f"model = {excerpt(model)}: this server has {name!r}; leave the field out, or give that"
        raise ApiError(message, status=404, field="model", kind=NOT_FOUND, code="model_not_found")


def flag(fields: Mapping[str, object], name: str) -> bool:
    """True or false; false where it is missing."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise ApiError(f"{name} = {excerpt(value)} must be true or false", field=name)
    return value


def seed(fields: Mapping[str, object]) -> int:
    """That of the request, or a fresh one, which the answer tells."""
    fresh = None if "seed" in fields else secrets.randbelow(LARGEST_SEED + 1)
    return integer(fields, "seed", 0, LARGEST_SEED, fresh)


def integer(fields: Mapping[str, object], name: str, low: int, high: int, usual: int | None) -> int:
    """An integer from low to high."""
    value = fields.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ApiError(f"{name} = {excerpt(value)} must be an integer from {low} to {high}", field=name)
    return value


def number(fields: Mapping[str, object], name: str, high: float, usual: float) -> float:
    """A number from 0 to high."""
    value = fields.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        raise ApiError(f"{name} = {excerpt(value)} must be a number from 0 to {high:g}", field=name)
    return float(value)


def text(fields: Mapping[str, object], name: str, longest: int, empty: str | None = None) -> str:
    """A text of at most so many characters. empty: what is wrong with one that says nothing; None takes it."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise ApiError(f"{name} = {excerpt(value)} must be a text", field=name)
    if empty is not None and not value.strip():
        raise ApiError(f"{name} is empty: {empty}", field=name)
    if len(value) > longest:
        raise ApiError(f"{name} has {len(value)} characters: at most {longest} are read", field=name)
    return value


def excerpt(value: object) -> str:
    """A value as an error repeats it."""
    words = repr(value) if not isinstance(value, int) or abs(value) < 10**SHOWN else "a number of many digits"
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"
