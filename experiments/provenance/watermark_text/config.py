"""The numbers of the watermark-text experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Distinct, Positive, Seed, Several, Share

Part = Annotated[float, msgspec.Meta(gt=0, lt=1)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    null_mean: Positive = 0.1
    """Distance of the mean z of unmarked texts from 0, at most."""
    null_sd: Positive = 0.05
    """Distance of its standard deviation from 1, at most."""
    null_law: Share = 0.01
    """p-value of a Kolmogorov-Smirnov test that randomised p-values of unmarked texts are uniform, at least."""
    false_positives: Share = 0.0015
    """Share of unmarked texts with z above the limit, at most: 3 of 2,000."""
    flat: Positive = 0.1
    """Relative distance of the mean z of texts from flat logits from the formula, at most."""
    found: Share = 0.95
    """Share of marked texts with z above the limit, at least."""
    cost: float = 0.0
    """Growth of the negative log-likelihood from no mark to the largest delta, in nats per token, at least: a mark is not free."""
    entropy: float = 0.0
    """Rank correlation of z with the mean entropy of the model along the text, at least."""
    changed: Positive = 0.15
    """Relative distance of the mean z of changed texts from that of the whole ones times the share of choices that is left, at most."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of keys and of texts."""
    null_texts: Several = 2000
    """Unmarked texts per seed and kind of mark, each with a key of its own."""
    flat_texts: Several = 1000
    """Texts from flat logits per gamma and delta."""
    vocabulary: Annotated[int, msgspec.Meta(ge=16, le=65536)] = 1024
    """Tokens of flat logits."""
    tokens: Annotated[int, msgspec.Meta(ge=32, le=4096)] = 200
    """Tokens of a text."""
    lengths: Distinct[Annotated[int, msgspec.Meta(ge=8, le=4096)]] = (25, 50, 100, 200)
    """Tokens of parts of texts from flat logits; the last is a whole text."""
    gammas: Distinct[Part] = (0.25, 0.5)
    """Shares of green tokens with flat logits; the first is that of all other texts."""
    flat_deltas: Distinct[Positive] = (1.0, 2.0)
    """Strengths of the mark with flat logits."""
    deltas: Distinct[Positive] = (1.0, 2.0, 4.0)
    """Strengths of the mark in texts of the model."""
    delta: Positive = 2.0
    """The strength that is asked to be found, of `texts` texts per seed."""
    limit: Positive = 4.0
    """A text is found where z is above this."""
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
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("lengths", "deltas", "changes"):
        ranges.rising(name, getattr(config, name))
        if len(getattr(config, name)) < 2:
            raise ConfigError(f"--{name} {ranges.shown(getattr(config, name))} must be two or more: what changes with them is asked for")
    if config.lengths[-1] != config.tokens:
        raise ConfigError(f"--lengths {ranges.shown(config.lengths)}: the last must be --tokens {config.tokens}")
    ranges.among("delta", config.delta, "deltas", config.deltas)
    ranges.at_most("few", config.few, "texts", config.texts)
    for name in ("texts", "few"):
        if getattr(config, name) % config.together:
            raise ConfigError(f"--{name} {getattr(config, name)} must be a multiple of --together {config.together}")
    if config.span >= config.tokens * min(config.paraphrased):
        raise ConfigError(
            f"--span {config.span} is too long: a share {min(config.paraphrased)} of --tokens {config.tokens} is no such span"
        )
