"""The numbers of the memorise-text experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Decay, Distinct, Natural, NonNegative, Positive, Seed, Several, Share, Some

Width = Annotated[int, msgspec.Meta(ge=8, le=2048, multiple_of=8)]
Depth = Annotated[int, msgspec.Meta(ge=1, le=64)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    slope: float = 0.0
    """Slope of the log-odds that a canary is extracted against log2 of its copies, at least."""
    p_value: Share = 0.01
    """Largest p-value of that slope, by likelihood ratio and by permutation."""
    larger: float = 0.01
    """Share of canaries that the larger model gives away less that of the smaller one, at least; above 0, so that a tie is not enough."""
    longer: float = 0.01
    """Share of canaries that the larger model gives away after the longest prefix less that after the shortest, at least."""
    unseen_exposure: Positive = 0.5
    """Distance in bits of the mean exposure of unseen canaries from what an unseen one averages, at most."""
    unseen_extracted: Share = 0.05
    """Share of unseen canaries that are extracted, at most."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of canaries and of training; each trains both models."""
    copies: Distinct[Annotated[int, msgspec.Meta(ge=1, le=1024)]] = (1, 2, 4, 8, 16, 32)
    """How often canaries stand in the text."""
    canaries: Count = 8
    """How many canaries stand there as often as each of these numbers."""
    unseen: Several = 128
    """Canaries that stand nowhere."""
    candidates: Several = 1023
    """Random texts of the form of a canary, among which each has its rank."""
    letters: Annotated[int, msgspec.Meta(ge=3, le=64)] = 24
    """Random lower-case letters of a canary."""
    suffix: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """How many of the last ones the model has to give."""
    prefixes: Distinct[Annotated[int, msgspec.Meta(ge=1, le=64)]] = (2, 4, 8, 16)
    """How many letters before them it is given."""
    rows: Count = 800
    """Rows of text; each holds one canary at most."""
    length: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 128
    """Bytes of a row."""
    widths: Some[Width] = (48, 96)
    """Channels of a token in the smaller and the larger model."""
    depths: Some[Depth] = (2, 3)
    """Blocks of each."""
    train_steps: Count = 300
    """Optimizer steps."""
    batch: Count = 16
    """Rows of text per step."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW, to which it warms up linearly; then it falls along a cosine."""
    warmup: Natural = 50
    """Steps until the learning rate peaks."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW on matrices."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    ema: Decay = 0.98
    """Decay per step of the parameter average that is judged."""
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    permutations: Several = 10000
    """Random orders behind the p-value by permutation, at least 1 / p_value."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("copies", "prefixes", "widths"):
        ranges.rising(name, getattr(config, name))
        if len(getattr(config, name)) < 2:
            raise ConfigError(f"--{name} {ranges.shown(getattr(config, name))} must be two or more: what grows with them is asked for")
    if len(config.widths) != 2 or len(config.depths) != 2:
        raise ConfigError(f"--widths {ranges.shown(config.widths)} and --depths {ranges.shown(config.depths)} must be those of two models")
    if config.prefixes[-1] + config.suffix > config.letters:
        raise ConfigError(
            f"--prefixes {ranges.shown(config.prefixes)} and --suffix {config.suffix} are more than --letters {config.letters}"
        )
    ranges.at_most("letters", config.letters, "length", config.length)
    if (needed := config.canaries * sum(config.copies)) > config.rows:
        raise ConfigError(f"--rows {config.rows} are fewer than the {needed} copies of --canaries {config.canaries} by --copies")
    ranges.at_most("batch", config.batch, "rows", config.rows)
    if config.warmup >= config.train_steps:
        raise ConfigError(f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps")
