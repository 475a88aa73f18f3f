"""The numbers of the chat experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.runs.ranges import Count, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    answered: float = 0.5
    """With the template, at least this share of the questions is answered rightly."""
    ended: float = 0.9
    """With the template, at least this share of the answers ends by itself."""
    gained: float = 0.0
    """The share that is answered rightly and ends by itself grows by more than this with the template."""
    shuffled: float = 0.05
    """Held against the answers of other questions, at most this share is right."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    questions: Annotated[int, msgspec.Meta(ge=4, le=100)] = 100
    """How many of the hundred questions are asked, from the first on."""
    max_tokens: Count = 48
    """Tokens of an answer, at most."""
    resamples: Several = 2000
    """Bootstrap draws of the questions behind the interval of the gain."""
    tiny: bool = False
    """Ask a small network with random weights in place of SmolLM2: to see that everything runs."""
    thresholds: Thresholds = Thresholds()
