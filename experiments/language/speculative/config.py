"""The numbers of the speculative experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.runs.ranges import Count, Distinct, Positive, Seed, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    law: Positive = 1e-4
    """Least p-value of a chi-square test of the law of tokens: 0.001 over two tests of five seeds."""
    planted: Positive = 1e-6
    """A planted mistake must have a p-value of at most this."""
    acceptance: Positive = 3.0
    """Largest distance of the share of accepted guesses from the overlap of both distributions, in standard errors."""
    per_call: Positive = 0.05
    """Largest relative distance of tokens per call from the formula."""
    same: Positive = 1.0
    """Share of greedy texts that are those without speculation, ties aside, at least."""
    faster: Positive = 2.0
    """Times as fast where a text repeats its prompt: copying, editing and summarising, at least."""
    not_slower: Positive = 0.9
    """The same of free texts and answers."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds of the draws on a tiny vocabulary."""
    draws: Annotated[int, msgspec.Meta(ge=100, le=2**20)] = 20000
    """Texts of two tokens per seed."""
    texts: Several = 1000
    """Texts per seed whose guesses are counted."""
    guesses: Annotated[int, msgspec.Meta(ge=1, le=32)] = 7
    """Tokens that are looked up at once."""
    early: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 20
    """Blocks of a draft that leaves the model early."""
    early_guesses: Annotated[int, msgspec.Meta(ge=1, le=32)] = 3
    """Tokens that it guesses at once."""
    max_tokens: Count = 96
    """Tokens of a text, at most."""
    prompts: Annotated[int, msgspec.Meta(ge=1, le=3)] = 3
    """Prompts of each task, of three."""
    rounds: Several = 5
    """Times that every text is generated, in turn."""
    tie: Positive = 1e-3
    """Difference of the two largest logits below which another token is a tie."""
    tiny: bool = False
    """Take a small network with random weights in place of SmolLM2: to see that everything runs."""
    thresholds: Thresholds = Thresholds()
