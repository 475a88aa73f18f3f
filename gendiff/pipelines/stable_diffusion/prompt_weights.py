"""Weights in a prompt: "a (red:1.3) cat" has its word red at 1.3 times its strength."""

import re

from gendiff.core import checks

LARGEST = 10.0
"""Largest weight of a part of a prompt, products of nested ones included."""
_TAIL = re.compile(r":\s*(\d+\.?\d*|\.\d+)\s*\Z")
_ESCAPED = ("\\(", "\\)")


def parse(text: str) -> tuple[tuple[str, float], ...]:
    r"""Split a prompt into parts of one weight each.

    A group is "(words:number)". Groups may stand in groups, and their weights multiply. Every other parenthesis is a
    letter like any other, as in the pipelines of diffusers, and so is "\(" or "\)" whatever follows.

    Args:
        text: the prompt.

    Returns:
        (part, weight) in their order, without empty parts: ("a ", 1.0), ("red", 1.3), (" cat", 1.0) for the example
        above.

    Raises:
        ValueError: for a weight above 10.
    """
    groups, parts, weights = _groups(text), [], [1.0]
    ends: list[tuple[int, int]] = []
    letters: list[str] = []
    at = 0

    def finish() -> None:
        if letters:
            parts.append(("".join(letters), weights[-1]))
            letters.clear()

    while at < len(text):
        if text.startswith(_ESCAPED, at):
            letters.append(text[at + 1])
            at += 2
        elif at in groups:
            finish()
            colon, close, weight = groups[at]
            weights.append(weights[-1] * weight)
            checks.in_range("the weight of a part of the prompt", weights[-1], 0.0, LARGEST)
            ends.append((colon, close))
            at += 1
        elif ends and at == ends[-1][0]:
            finish()
            at = ends.pop()[1] + 1
            weights.pop()
        else:
            letters.append(text[at])
            at += 1
    finish()
    return tuple(parts)


def _groups(text: str) -> dict[int, tuple[int, int, float]]:
    """Where a group opens -> (where its number begins, where it closes, the number)."""
    groups: dict[int, tuple[int, int, float]] = {}
    opened: list[int] = []
    at = 0
    while at < len(text):
        if text.startswith(_ESCAPED, at):
            at += 2
            continue
        if text[at] == "(":
            opened.append(at)
        elif text[at] == ")" and opened:
            begin = opened.pop()
            colon = text.rfind(":", begin + 1, at)
            tail = _TAIL.match(text, colon, at) if colon >= 0 else None
            if tail is not None:
                groups[begin] = colon, at, float(tail[1])
        at += 1
    return groups
