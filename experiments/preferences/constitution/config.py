"""The numbers of the constitution experiment."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.preferences.constitution import grammar
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Natural, NonNegative, Positive, Seed, Several, Share

Width = Annotated[int, msgspec.Meta(ge=16, le=2048, multiple_of=16)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    halved: Positive = 0.5
    """Share of answers that break a principle after supervised tuning on revisions, over that before, at most."""
    p_value: Share = 0.01
    """McNemar's one-sided p that violations fell, at most, after each of the two stages."""
    success: NonNegative = 0.02
    """Share of requests that are answered rightly before less that after both stages, at most."""
    agreement: Share = 0.9
    """Share of the labels of the network's own judgement that agree with the rules, at least."""
    unrevised: Positive = 0.8
    """Violations after tuning on drafts without a revision, over those before, at least: the revisions do it."""
    shuffled: Share = 0.01
    """McNemar's p after preference tuning on labels of a coin, at least: the labels do it."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of training, all of them trained by one program."""
    width: Width = 64
    """Channels of a token."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    """Blocks."""
    train_steps: Count = 800
    """Optimizer steps of the base network, which learns all four skills."""
    batch: Annotated[int, msgspec.Meta(ge=4, le=2**20, multiple_of=4)] = 128
    """Rows per step: a quarter critiques, a quarter revisions, the others judgements."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW; it falls along a cosine."""
    warmup: Natural = 100
    """Steps until the learning rate peaks."""
    rounds: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Rounds of critique and revision, each by a principle of its own."""
    revised: Several = 2000
    """Requests whose answers the network revises."""
    tuning_steps: Count = 250
    """Optimizer steps of supervised tuning on these."""
    tuning_batch: Count = 96
    """Answers per step of it."""
    tuning_rate: Positive = 1e-3
    """Learning rate of it, which falls along a cosine."""
    pairs: Several = 8000
    """Requests with two answers each, which the network judges."""
    least: Annotated[float, msgspec.Meta(ge=0, lt=0.5)] = 0.09
    """Pairs whose probability is nearer to one half have no label. One principle of four that is sure of itself moves it by 0.125."""
    preference_steps: Count = 100
    """Optimizer steps of preference tuning (DPO). A pilot with another seed chose them, the rate and `least`: more spoils answers."""
    preference_batch: Count = 64
    """Pairs per step of it."""
    preference_rate: Positive = 1e-4
    """Learning rate of it, which falls along a cosine."""
    beta: Positive = 0.1
    """β of DPO: how much a nat of distance from the tuned network costs."""
    anchor: NonNegative = 0.2
    """Weight of −log p per token of the chosen answers beside DPO's loss."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW on matrices."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    judged: Several = 2000
    """Held-out requests."""
    checkpoint_every: Count = 200
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.warmup >= config.train_steps:
        raise ConfigError(f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps")
    if config.judged > (most := grammar.REQUESTS // 2):
        raise ConfigError(f"--judged {config.judged} is above {most}, half of the {grammar.REQUESTS} requests")
    for name in ("revised", "pairs"):
        if getattr(config, name) > (most := grammar.REQUESTS - config.judged):
            raise ConfigError(f"--{name} {getattr(config, name)} is above {most}, the requests that --judged {config.judged} leaves")
    ranges.at_most("tuning-batch", config.tuning_batch, "revised", config.revised)
    ranges.at_most("preference-batch", config.preference_batch, "pairs", config.pairs)
