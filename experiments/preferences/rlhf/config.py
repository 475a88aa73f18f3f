"""The numbers of the rlhf experiment."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.preferences.rlhf import task
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Seed, Several

Width = Annotated[int, msgspec.Meta(ge=4, le=1024, multiple_of=4)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds of everything, all of them trained by one program; the control learns shuffled rankings with the first."""
    width: Width = 32
    """Channels of a token in every network."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=32)] = 2
    """Blocks of every network."""
    heads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Heads of attention; they divide the width."""
    sft_steps: Count = 400
    """Steps on demonstrations."""
    sft_batch: Count = 256
    """Demonstrations per step, none of them twice."""
    rankings: Several = 4000
    """Rankings that people give, for the reward model."""
    answers: Annotated[int, msgspec.Meta(ge=2, le=16)] = 4
    """Answers that a ranking orders."""
    reward_steps: Count = 400
    """Steps of a reward model."""
    reward_batch: Count = 64
    """Rankings per step."""
    comparisons: Several = 100
    """Pairs that people compare, for the reward model that is optimised too far."""
    betas: Distinct[Positive] = (1.0, 0.5, 0.2)
    """Weights β of the KL penalty, falling."""
    beta: Positive = 0.5
    """The β that methods are compared at."""
    small_beta: Positive = 0.02
    """The β with which the reward model of few comparisons is optimised."""
    updates: Count = 150
    """Updates of PPO and GRPO."""
    rollouts: Annotated[int, msgspec.Meta(ge=8, le=2**20, multiple_of=task.PROMPTS)] = 512
    """Answers per update."""
    epochs: Count = 2
    """How often each answer is used."""
    minibatches: Count = 4
    """Gradient steps per epoch."""
    grpo: bool = True
    """Whether GRPO is trained too."""
    group: Several = 16
    """Answers to a prompt that GRPO compares."""
    dpo_steps: Count = 1000
    """Steps of DPO."""
    dpo_pairs: Several = 4096
    """Pairs per step of DPO."""
    warmup: Natural = 10
    """Steps until each learning rate peaks."""
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.width % config.heads or (config.width // config.heads) % 2:
        raise ConfigError(f"--heads {config.heads} must divide --width {config.width} into even parts")
    if any(later >= earlier for earlier, later in zip(config.betas, config.betas[1:], strict=False)):
        raise ConfigError(f"--betas {ranges.as_typed(config.betas)}: each number must be below the one before")
    ranges.among("beta", config.beta, "betas", config.betas)
    if config.small_beta >= config.betas[-1]:
        raise ConfigError(
            f"--small-beta {config.small_beta} must be below the last of --betas {ranges.as_typed(config.betas)}"
        )
    ranges.at_most("reward-batch", config.reward_batch, "rankings", config.rankings)
    for name in ("sft_steps", "reward_steps", "dpo_steps"):
        if config.warmup >= getattr(config, name):
            option = name.replace("_", "-")
            raise ConfigError(
                f"--warmup {config.warmup} must be below --{option} {getattr(config, name)}: both count steps"
            )
    if config.warmup >= config.updates * config.epochs * config.minibatches:
        raise ConfigError(f"--warmup {config.warmup} must be below the gradient steps of --updates {config.updates}")
    if config.rollouts % config.minibatches:
        raise ConfigError(f"--minibatches {config.minibatches} must divide --rollouts {config.rollouts}")
    if (config.rollouts // task.PROMPTS) % config.group:
        raise ConfigError(
            f"--group {config.group} must divide the {config.rollouts // task.PROMPTS} answers per prompt of --rollouts"
        )
