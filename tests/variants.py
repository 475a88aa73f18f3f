"""Variants of a test: cheap ones are one test, and the dearest run with the slow tests alone."""

import functools
import inspect

import pytest


def some_slow(names, slow):
    """The names as arguments of `parametrize`; those in `slow` are marked."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


def cases(names, rows):
    """Decorate a test of cheap cases, which are named as in `parametrize`: it is one test, which runs all and raises all that fail."""
    names, rows = names.split(", "), list(rows)

    def over_all(test):
        signature = inspect.signature(test)

        @functools.wraps(test)
        def run(**fixtures):
            problems, skips = [], []
            for number, row in enumerate(rows):
                case = dict(zip(names, row if len(names) > 1 else (row,), strict=True))
                try:
                    test(**case, **{name: _of_case(name, value, number) for name, value in fixtures.items()})
                except pytest.skip.Exception as skip:
                    skips.append(skip)
                except (Exception, pytest.fail.Exception) as problem:
                    problem.add_note(f"case {number}: {case!r}"[:500])
                    problems.append(problem)
            if problems:
                raise BaseExceptionGroup(f"{len(problems)} of {len(rows)} cases fail", problems)
            if skips:
                raise skips[0]

        run.__signature__ = signature.replace(parameters=[each for each in signature.parameters.values() if each.name not in names])
        return run

    return over_all


def _of_case(name, value, number):
    """A fixture as one case sees it: with a folder of its own."""
    if name == "tmp_path":
        value = value / str(number)
        value.mkdir()
    return value
