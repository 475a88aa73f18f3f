"""Errors about pictures in the words of the command line: where the library names an argument, a user gives an option."""

import contextlib
import re
from collections.abc import Iterator

from gendiff.core.errors import ConfigError, DataError

OPTIONS = {
    r'on_bad="skip"': "--on-bad-image skip",
    r"background=\((\d+), (\d+), (\d+)\)": r"--background \1 \2 \3",
    r"pass size= ": "pass --size N ",
    r'conditional="none"': "--conditional none",
    r"held_out = ": "--held-out ",
    r"change the share": "change --held-out",
}
"""Patterns of the library's messages -> what a user types."""


@contextlib.contextmanager
def named() -> Iterator[None]:
    """Within: errors of the library name options; a value out of range or a missing package is an error of usage."""
    try:
        yield
    except DataError as error:
        raise DataError(translated(error)) from error
    except (ValueError, ImportError) as error:
        raise ConfigError(translated(error)) from error


def translated(error: Exception | str) -> str:
    """The message with options in the place of arguments."""
    text = str(error)
    for theirs, ours in OPTIONS.items():
        text = re.sub(theirs, ours, text)
    return text
