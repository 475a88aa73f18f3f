"""Errors of gendiff: each names the path, the step or the configuration that is wrong."""

FIRST, LAST = 1700, 600
"""Characters of a long message that are left: 12 lines of 200 in all, with the number of the others."""
LINES = 12
"""Of a message. The last one often says what to do."""


def bounded(text: str) -> str:
    """Return a text for a message: its middle left out, and no character that a terminal obeys."""
    if len(text) > FIRST + LAST:
        text = f"{text[:FIRST]} … {len(text) - FIRST - LAST} characters … {text[-LAST:]}"
    if text.isprintable():
        return text
    lines = text.split("\n")
    if len(lines) > LINES:
        text = "\n".join([*lines[: LINES - 2], f"… {len(lines) - LINES + 1} lines …", lines[-1]])
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )


class GendiffError(Exception):
    """Base of every error that gendiff defines; wrong arguments raise the built-in ValueError and TypeError."""

    def __str__(self) -> str:
        return bounded(super().__str__())


class ConfigError(GendiffError, ValueError):
    """Settings that contradict each other or lie outside their range."""


class DataError(GendiffError, ValueError):
    """A data file that is missing, unreadable or of the wrong kind. The message starts with its path."""


class BadPicturesError(DataError):
    """Several pictures of one set that cannot be used.

    Args:
        message: the first of them, and how many there are for each reason.
        messages: one per bad picture, path first.
    """

    def __init__(self, message: str, messages: tuple[str, ...] = ()):
        super().__init__(message)
        self.messages = messages


class NonFiniteError(GendiffError, ArithmeticError):
    """Loss, gradient or sample stopped being finite."""


class CheckpointCorruptError(GendiffError):
    """Stored bytes differ from the digests written beside them, or cannot be read."""


class CheckpointMismatchError(GendiffError, ValueError):
    """A sound checkpoint of another configuration, structure, shape or dtype."""
