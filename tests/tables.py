"""A table of cheap cases is one test, which runs every case and lists those that failed."""

import contextlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def table(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """In place of `pytest.mark.parametrize` where a case costs little. `tmp_path`, `monkeypatch` and `capsys` begin
    anew with each case.
    """
    columns = names.split(", ") if isinstance(names, str) else names
    cases = [dict(zip(columns, row if len(columns) > 1 else (row,), strict=True)) for row in rows]
    assert cases, "a table without a case tests nothing"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def run(**fixtures: Any) -> None:
            __tracebackhide__ = True
            problems: list[tuple[str, BaseException]] = []
            skip: BaseException | None = None
            for number, case in enumerate(cases):
                with contextlib.ExitStack() as stack:
                    try:
                        test(
                            **case, **{name: _anew(name, fixture, number, stack) for name, fixture in fixtures.items()}
                        )
                    except pytest.skip.Exception as reason:
                        skip = reason  # the other cases are run all the same
                    except (Exception, pytest.fail.Exception) as problem:
                        problems.append((f"- {case}: {type(problem).__name__}: {problem}", problem))
            if problems:
                lines = [f"{len(problems)} of {len(cases)} cases failed:", *(line for line, _ in problems)]
                raise AssertionError("\n".join(lines)) from problems[0][1]
            if skip:
                raise skip

        parameters = inspect.signature(test).parameters
        run.__signature__ = inspect.Signature(
            [parameter for name, parameter in parameters.items() if name not in columns]
        )  # type: ignore[attr-defined]
        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        run.pytestmark = getattr(test, "pytestmark", [])  # type: ignore[attr-defined]
        return run

    return decorate


def _anew(name: str, fixture: Any, number: int, stack: contextlib.ExitStack) -> Any:
    if name == "tmp_path":
        (folder := fixture / str(number)).mkdir()
        return folder
    if name == "monkeypatch":
        return stack.enter_context(fixture.context())
    if name == "capsys":
        fixture.readouterr()
    return fixture
