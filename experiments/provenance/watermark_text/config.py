"""The numbers of the watermark-text experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Distinct, Positive, Seed, Several

Part = Annotated[float, msgspec.Meta(gt=0, lt=1)]


GAMMA = 0.25
"""Share of green tokens."""
LIMIT = 4.0
"""A text is found where z is above this."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of keys and of texts."""
    null_texts: Several = 2000
    """Unmarked texts per seed and kind of mark, each with a key of its own."""
    tokens: Annotated[int, msgspec.Meta(ge=32, le=4096)] = 200
    """Tokens of a text."""
    deltas: Distinct[Positive] = (1.0, 2.0, 4.0)
    """Strengths of the mark in texts of the model."""
    delta: Positive = 2.0
    """The strength that is asked to be found, of `texts` texts per seed."""
    texts: Several = 32
    """Texts per seed with `delta`."""
    few: Several = 16
    """Texts of each other kind, with the first seed."""
    together: Several = 16
    """Texts that are written in one call."""
    prompt: Annotated[int, msgspec.Meta(ge=4, le=1024)] = 32
    """Tokens of a prompt, from Python's manual."""
    changes: Distinct[Part] = (0.1, 0.3, 0.5)
    """Shares of tokens that are replaced, deleted or cut off."""
    paraphrased: Distinct[Part] = (0.25, 0.5)
    """Shares of tokens that the model writes anew without a key, in spans."""
    span: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    """Tokens of such a span."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    tiny: bool = False
    """Take a small network with random weights in place of SmolLM2: to see that everything runs."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("deltas", "changes"):
        ranges.rising(name, getattr(config, name))
        if len(getattr(config, name)) < 2:
            raise ConfigError(
                f"--{name} {ranges.as_typed(getattr(config, name))} must be two or more: what changes with them is "
                "asked for"
            )
    ranges.among("delta", config.delta, "deltas", config.deltas)
    ranges.at_most("few", config.few, "texts", config.texts)
    for name in ("texts", "few"):
        if getattr(config, name) % config.together:
            raise ConfigError(f"--{name} {getattr(config, name)} must be a multiple of --together {config.together}")
    if config.span >= config.tokens * min(config.paraphrased):
        raise ConfigError(
            f"--span {config.span} is too long: a share {min(config.paraphrased)} of --tokens {config.tokens} is no "
            "such span"
        )
