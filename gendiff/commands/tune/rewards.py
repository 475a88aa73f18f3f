"""Rewards of `tune --method grpo`: plain comparisons of a text with the answer of its row, 1 or 0."""

import re
from collections.abc import Callable


def exact(text: str, answer: str) -> bool:
    """The text is the answer, but for spaces around it."""
    return text.strip() == answer.strip()


def contains(text: str, answer: str) -> bool:
    """The answer stands in the text as a word, whatever its capitals."""
    return re.search(rf"(?<!\w){re.escape(answer.strip())}(?!\w)", text, re.IGNORECASE) is not None


def number(text: str, answer: str) -> bool:
    """The last number of the text is the answer."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", text.replace(",", ""))
    return bool(numbers) and float(numbers[-1]) == as_number(answer)


def as_number(answer: str) -> float:
    """The number that an answer is, with commas between thousands or without. ValueError for what is none."""
    return float(answer.replace(",", ""))


REWARDS: dict[str, Callable[[str, str], bool]] = {"exact": exact, "contains": contains, "number": number}
"""By the name that a row may have as its reward."""
