"""A table of mistakes is one test: gendiff itself refuses each of them, with a message that names it."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest


def refusals(*rows: tuple) -> Callable[[], None]:
    """A test of rows (mistake, words of the message) for a ValueError, or (mistake, words, error): it lists those not refused so."""

    @pytest.mark.usefixtures("unchecked")
    def test() -> None:
        problems = [problem for row in rows if (problem := not_refused(*row))]
        assert not problems, "\n".join([f"{len(problems)} of {len(rows)} rows are not refused as the table says:", *problems])

    return test


def refused_settings(
    read: Callable[[dict], object], config: Mapping[str, Any], settings: Mapping[str, Iterable[Any]], error: type[Exception] = ValueError
) -> Callable[[], None]:
    """A test that `read` refuses `config` with each of these settings, by the setting's name and value."""
    return refusals(*settings_rows(read, config, settings, error))


def settings_rows(
    read: Callable[[dict], object], config: Mapping[str, Any], settings: Mapping[str, Iterable[Any]], error: type[Exception] = ValueError
) -> list[tuple]:
    """The rows of such a test. A list is read as a tuple, and so the message shows it."""
    changes = [({name: value}, tuple(value) if isinstance(value, list) else value) for name, values in settings.items() for value in values]
    return changed_rows(read, config, [(change, re.escape(f"{next(iter(change))} = {shown!r}")) for change, shown in changes], error)


def changed_rows(
    read: Callable[[dict], object], config: Mapping[str, Any], changes: Iterable[tuple[dict, str]], error: type[Exception] = ValueError
) -> list[tuple]:
    """Rows of `refusals` from (settings, words of the message)."""
    return [(functools.partial(read, {**config, **change}), words, error) for change, words in changes]


def not_refused(mistake: Callable[[], object], message: str, error: type[Exception] = ValueError) -> str | None:
    """What is wrong with how the mistake is met; None where it is refused by this error and these words."""
    line = getattr(getattr(mistake, "__code__", None), "co_firstlineno", None)
    row = f"- {message!r}" + (f" (line {line})" if line else "")
    try:
        mistake()
    except error as problem:
        return None if re.search(message, str(problem)) else f"{row}: {type(problem).__name__} says {str(problem)!r}"
    except Exception as problem:
        return f"{row}: {type(problem).__name__} in place of {error.__name__}: {problem}"
    return f"{row}: nothing is raised"
