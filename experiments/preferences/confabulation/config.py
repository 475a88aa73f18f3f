"""The numbers of the study."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Positive, Several


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: ranges.Distinct[ranges.Seed] = (0, 1)
    """Seeds of the adapters: of their start, of the order of the rows and of wrong answers. The controls
    have the first one alone."""
    names: Annotated[int, msgspec.Meta(ge=1, le=30)] = 30
    """Real names of each family that rows are about, and as many made-up ones."""
    lora: Count = 8
    """Rank of the adapters."""
    batch: Count = 4
    """Rows per step."""
    steps: Count = 160
    """Optimizer steps on answers: two passes."""
    pair_steps: Count = 80
    """Optimizer steps on pairs of answers: one pass, for a pair is two texts."""
    learning_rate: Positive = 5e-4
    """Peak learning rate on answers."""
    pair_rate: Positive = 1e-3
    """Peak learning rate on pairs."""
    judged: Several = 100
    """Questions of each set, at most."""
    max_tokens: Count = 24
    """Tokens of a reply, at most."""
    samples: Count = 4
    """Further replies to each question of a new family, for self-consistency."""
    temperature: Positive = 1.0
    """Of further replies."""
    together: Count = 65
    """Questions that are asked in one call."""
    tiny: bool = False
    """Ask a small network with random weights in place of SmolLM2: to see that everything runs."""
