"""A table of mistakes is one test: gendiff itself refuses each of them, with a message that names it."""

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest


def refusals(*rows: tuple) -> Callable[[], None]:
    """A test of rows (mistake, words of the message) for a ValueError, or (mistake, words, error): it lists those not
    refused so.
    """

    @pytest.mark.usefixtures("unchecked")
    def test() -> None:
        problems = [problem for row in rows if (problem := not_refused(*row))]
        assert not problems, "\n".join(
            [f"{len(problems)} of {len(rows)} rows are not refused as the table says:", *problems]
        )

    return test


def refused_settings(
    read: Callable[[dict], object],
    config: Mapping[str, Any],
    settings: Mapping[str, Iterable[Any]],
    error: type[Exception] = ValueError,
) -> Callable[[], None]:
    """A test that `read` refuses `config` with each of these settings, by the setting's name and value."""
    return refusals(*settings_rows(read, config, settings, error))


def settings_rows(
    read: Callable[[dict], object],
    config: Mapping[str, Any],
    settings: Mapping[str, Iterable[Any]],
    error: type[Exception] = ValueError,
) -> list[tuple]:
    """The rows of such a test. A list is read as a tuple, and so the message shows it."""
    changes = [
        ({name: value}, tuple(value) if isinstance(value, list) else value)
        for name, values in settings.items()
        for value in values
    ]
    return changed_rows(
        read, config, [(change, re.escape(f"{next(iter(change))} = {shown!r}")) for change, shown in changes], error
    )


def changed_rows(
    read: Callable[[dict], object],
    config: Mapping[str, Any],
    changes: Iterable[tuple[dict, str]],
    error: type[Exception] = ValueError,
) -> list[tuple]:
    """Rows of `refusals` from (settings, words of the message)."""
    return [(functools.partial(read, {**config, **change}), words, error) for change, words in changes]


class Ends(NamedTuple):
    """The range of a number: of integers where its low end is one. A high end of None is not looked at."""

    take: Callable[[Any], object]
    name: str
    low: float
    high: float | None = math.inf
    open_low: bool = False
    open_high: bool = False

    def values(self) -> Iterator[tuple[Any, bool]]:
        """The last values inside of the range, the first ones outside of it, NaN, and whether each is taken."""
        if isinstance(self.low, int):
            yield from ((self.low, True), (self.low - 1, False))
            yield from () if self.high in (None, math.inf) else ((self.high, True), (self.high + 1, False))
            return
        yield math.nan, False
        for end, is_open, outwards in ((self.low, self.open_low, -math.inf), (self.high, self.open_high, math.inf)):
            if end is not None:
                yield end, not is_open
            if end is not None and math.isfinite(end):
                yield float(np.nextafter(end, -outwards if is_open else outwards)), is_open


def ends(*rows: Ends) -> Callable[[], None]:
    """A test that each number is taken up to the exact ends of its range and refused by its name just beyond them."""

    @pytest.mark.usefixtures("unchecked")
    def test() -> None:
        problems = []
        for row in rows:
            for value, inside in row.values():
                if inside:
                    try:
                        row.take(value)
                    except Exception as problem:
                        problems.append(f"- {row.name} = {value!r} is refused: {problem}")
                elif problem := not_refused(lambda row=row, value=value: row.take(value), row.name):
                    problems.append(f"{problem} for {value!r}")
        assert not problems, "\n".join(problems)

    return test


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
