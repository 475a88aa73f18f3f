"""The numbers of the instruct experiment."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.preferences.instruct import orders
from gendiff.core.errors import ConfigError
from gendiff.data import sums
from gendiff.runs.ranges import Count, Distinct, Natural, NonNegative, Positive, Seed, Several, Share

Width = Annotated[int, msgspec.Meta(ge=16, le=2048, multiple_of=16)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    continues: Share = 0.9
    """Share of orders after which the small model goes on with a further order before it is tuned, at least."""
    before: Share = 0.05
    """Share of orders to which it gives a response and ends before it is tuned, at most."""
    answers: Share = 0.95
    """Share of orders to which it gives a response and ends after tuning, at least."""
    right: Share = 0.8
    """Share of held-out orders that it answers rightly, and ends, after tuning, at least."""
    shuffled: Share = 0.1
    """The same after tuning on responses of other orders, at most."""
    endless: Share = 0.1
    """Share of orders to which it gives a response and ends after tuning without loss on the end, at most."""
    template: Share = 0.5
    """Share of the hundred questions that SmolLM2 answers rightly in its chat template, at least."""
    gained: float = 0.0
    """Share that it answers rightly and ends, in the template less as plain text, at least."""
    others: Share = 0.05
    """Share of the other questions whose answers a reply holds by chance, at most."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the small model, all of them trained by one program."""
    width: Width = 64
    """Channels of a token."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Blocks."""
    train_steps: Count = 600
    """Optimizer steps of the first training, on facts and sheets of orders."""
    batch: Several = 64
    """Documents per step."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW; it falls along a cosine."""
    warmup: Natural = 100
    """Steps until the learning rate peaks."""
    pairs: Several = 8000
    """Orders with responses, on which the model is tuned."""
    tuning_steps: Count = 600
    """Optimizer steps of tuning."""
    tuning_batch: Count = 96
    """Orders per step of it."""
    tuning_rate: Positive = 2e-3
    """Learning rate of it, which falls along a cosine."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW on matrices."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    judged: Several = 600
    """Held-out pairs of numbers, each with one verb. No training sees one in either order."""
    questions: Annotated[int, msgspec.Meta(ge=4, le=100)] = 100
    """How many of the hundred questions SmolLM2 is asked, from the first on."""
    max_tokens: Count = 48
    """Tokens of its replies, at most."""
    tiny: bool = False
    """Ask a small network with random weights in place of SmolLM2: to see that everything runs."""
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
    if config.judged > (most := sums.unordered(orders.DIGITS) // 2):
        raise ConfigError(f"--judged {config.judged} is above {most}, half of the pairs of numbers of {orders.DIGITS} digits")
    if config.tuning_batch > config.pairs:
        raise ConfigError(f"--tuning-batch {config.tuning_batch} is above --pairs {config.pairs}")
