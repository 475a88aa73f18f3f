"""A table of mistakes is a test: gendiff itself refuses each of them, with a message that names it."""

from collections.abc import Callable

import pytest


def refusals(*rows: tuple) -> Callable[..., None]:
    """A test whose cases are (mistake, words of the message) for a ValueError, or (mistake, words, error)."""

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(("mistake", "message", "error"), [(*row, ValueError)[:3] for row in rows])
    def test(mistake: Callable[[], object], message: str, error: type[Exception]) -> None:
        with pytest.raises(error, match=message):
            mistake()

    return test
