"""The numbers of the study."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.text_to_image import texts
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Positive, Several

WIDTH = 64
"""Tokens of a prompt with its reply, at most."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: ranges.Distinct[ranges.Seed] = (0, 1)
    """Seeds of the adapters and of what they draw. The weak penalty and the random reward have the first one alone."""
    requests: Annotated[int, msgspec.Meta(ge=2, le=16)] = 16
    """Requests of each family."""
    beta: Positive = 0.3
    """Weight of KL to the model that is not tuned, per nat, where there is a penalty. Rewards have a standard
    deviation of 1 over replies of that model."""
    weak_beta: Positive = 0.05
    """The same where the penalty is weak."""
    free_beta: Positive = 0.001
    """The same where there is next to none."""
    lora: Count = 8
    """Rank of the adapters."""
    batch: Count = 2
    """Requests per step."""
    group: Several = 8
    """Replies to each of them."""
    steps: Annotated[int, msgspec.Meta(ge=10, le=ranges.LARGEST)] = 24
    """Steps of GRPO, a fifth of which are a point of its way."""
    learning_rate: Positive = 2e-3
    """Its peak."""
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=24)] = 24
    """Tokens of a reply, at most."""
    temperature: Positive = 0.7
    """Of all replies."""
    draws: Count = 2
    """Replies to each request that are judged."""
    best: Several = 4
    """Replies of the model that is not tuned, of which the reward model takes one."""
    tiny: bool = False
    """Tune a small network with random weights in place of SmolLM2: to see that everything runs."""


def check(config: Config) -> None:
    """ConfigError for weights of KL that are in the wrong order, and where the text encoder is not installed."""
    if not config.free_beta < config.weak_beta < config.beta:
        raise ConfigError(
            f"--free-beta {config.free_beta:g} must be below --weak-beta {config.weak_beta:g}, and that below --beta "
            f"{config.beta:g}: they are three weights of KL, from next to none on"
        )
    texts.check()
