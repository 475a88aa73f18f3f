"""The numbers of the emergence experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.data import sums
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Natural, NonNegative, Positive, Seed, Several, Share

REVERSED, PLAIN, SHUFFLED = "reversed", "plain", "shuffled"
"""How answers stand: units first, as on paper, and reversed answers of other sums, which is the control."""
FORMATS = (REVERSED, PLAIN)
REFERENCE = 64
"""The width whose learning rate the configuration states."""
KINK_SIZES = 6
"""Sizes that two lines which meet can be told from one with."""

Width = Annotated[int, msgspec.Meta(ge=4, le=4096, multiple_of=2)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    spearman: float = -0.9
    """Spearman's correlation of size and negative log-likelihood, at most."""
    beginning: Share = 0.05
    """Exact match of the smallest network, at most."""
    end: Share = 0.9
    """Exact match of the largest network, at least."""
    narrower: float = 0.0
    """Decades of size over which digit accuracy rises less those over which exact match does, at least."""
    z: Positive = 4.0
    """Largest |z| of exact match of sampled answers against what the chain rule gives."""
    shuffled: Share = 0.002
    """Chance of the right answer after training on shuffled ones, at most; the commonest answer is that of one sum in 1,000."""


@dataclasses.dataclass(frozen=True)
class Hypotheses:
    """What each hypothesis about the rise asks for, written down before the run; the table says which of them hold."""

    explained: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    """Metric: share of the variance of exact match that a straight line of log NLL against log size explains, at least."""
    kink: Positive = 10.0
    """Transition: BIC of one line less that of two that meet, above which the NLL has a kink."""
    together: Positive = 0.15
    """Percolation: decades between the sizes at which sums with few and with many carries reach one half, at most, beside a kink."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4, 5, 6, 7)
    """Seeds of training, all of them trained by one program; shuffled answers are learned with the first."""
    widths: Distinct[Width] = (4, 6, 8, 12, 16, 24, 32, 48, 64)
    """Channels of a token, from the smallest network to the largest."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Blocks of each."""
    formats: Distinct[str] = FORMATS
    """How answers are written: reversed, plain."""
    digits: Annotated[int, msgspec.Meta(ge=1, le=sums.MOST_DIGITS)] = 3
    """Digits of each number of a sum."""
    train_steps: Count = 400
    """Optimizer steps, equal for all sizes. Other seeds than these chose it: width 64 needs no more than 500 steps of 2,000."""
    batch: Count = 128
    """Sums per step, none of which is held out."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW at width 64; at another width it is that times the root of 64 / width. It falls along a cosine."""
    warmup: Natural = 100
    """Steps until the learning rate peaks."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW on matrices."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    judged: Several = 2000
    """Held-out pairs, each in one order."""
    samples: Count = 10
    """Answers that are sampled for each of them."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    hypotheses: Hypotheses = Hypotheses()
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.rising("widths", config.widths)
    if len(config.widths) < 2:
        raise ConfigError(f"--widths {ranges.shown(config.widths)} must be two or more: what grows with them is asked for")
    ranges.known("formats", config.formats, FORMATS)
    if config.warmup >= config.train_steps:
        raise ConfigError(f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps")
    if config.judged > (most := sums.unordered(config.digits) // 2):
        raise ConfigError(f"--judged {config.judged} is above {most}, half of the pairs of --digits {config.digits}")
