"""The numbers of the video experiment."""

import dataclasses
from typing import Annotated, Literal, TypeAlias

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Decay, Distinct, NonNegative, Positive, Seed, Several

FULL, FACTORISED, CAUSAL = "full", "factorised", "causal"
ATTENTIONS = (FULL, FACTORISED, CAUSAL)
"""All places of a clip see each other; those of a frame, and then each place itself over time; a frame sees itself and
those before.
"""
REAL, SHUFFLED = "real clips", "shuffled frames"
"""Held-out clips, which samples are held against, and the same with their frames in another order, which must be told
apart.
"""
DIGIT = 8
"""Pixels of a side of a digit."""
CONTEXT = 0.1
"""The largest context noise in training, a place u on the noise path."""
_Part: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Length: TypeAlias = Annotated[int, msgspec.Meta(ge=3, le=1024)]
_Side: TypeAlias = Annotated[int, msgspec.Meta(ge=2 * DIGIT, le=256, multiple_of=4)]
_Width: TypeAlias = Annotated[int, msgspec.Meta(ge=4, le=4096, multiple_of=4)]
_Channels: TypeAlias = Annotated[tuple[_Width, ...], msgspec.Meta(min_length=2, max_length=3)]
_Sample: TypeAlias = Annotated[int, msgspec.Meta(ge=8, le=100_000)]


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of training."""
    frames: _Length = 8
    """Frames of a training clip, and how many frames the causal network sees, its own included."""
    side: _Side = 16
    """Pixels of a side of a frame; digits have 8."""
    fastest: Annotated[int, msgspec.Meta(ge=1, le=7)] = 1
    """Pixels per frame that a digit moves along an axis, at most."""
    channels: _Channels = (32, 48, 64)
    """Channels of each level of the U-Net; each halves the size, and all but the first have attention."""
    blocks: Count = 1
    """Residual blocks per level."""
    heads: Count = 2
    """Heads of attention."""
    groups: Count = 8
    """Groups of the norms."""
    flops: Positive = 7e13
    """Operations of the training of one seed of the causal network."""
    others: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    """Share of them that a training of each other network takes."""
    batch: Several = 6
    """Clips of a step."""
    pictures: Several = 48
    """Single frames of a step of the causal network, beside its clips: they teach how a clip begins."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """adamw, or muon: Muon on matrices and kernels, and AdamW on the rest. Muon compiles for longer."""
    learning_rate: Positive = 0.02
    """Peak learning rate of Muon; it falls along a cosine."""
    adam_learning_rate: Positive = 2e-3
    """The same of AdamW."""
    warmup: _Part = 0.05
    """Share of the steps until the learning rates peak."""
    weight_decay: NonNegative = 0.01
    """Weight decay of matrices."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    ema: Decay = 0.998
    """Decay of the averages that samples come from."""
    sampling_steps: Several = 16
    """DDIM steps of a clip, and of each frame of a rollout."""
    samples: _Sample = 200
    """Clips of each seed and attention, of each digit in turn."""
    real: _Sample = 1000
    """Held-out clips, to which samples are compared, and training clips, whose Fréchet distance to them is the
    floor.
    """
    draws: Several = 20
    """Draws behind each Fréchet distance."""
    together: Count = 40
    """Clips drawn in one call."""
    long: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 10
    """Length of the long rollout, in training clips."""
    long_samples: _Sample = 40
    """Clips of each seed whose rollout is long."""
    noise: _Part = 0.05
    """Context noise of the rollout with context noise, a place u on the noise path: frames are kept in the cache with
    so much noise.
    """
    lengths: Distinct[Annotated[int, msgspec.Meta(ge=1, le=4096)]] = (4, 16, 64)
    """Frames of the clips whose cost is measured, at `side` pixels."""
    sides: Distinct[_Side] = (16, 32, 48)
    """Pixels of a side of the clips whose cost is measured, with `frames` frames."""
    rounds: Several = 7
    """Rounds in which costs are timed in turn."""
    call_seconds: Positive = 0.05
    """Least length of a timed call: shorter work is repeated."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    channels = ranges.as_typed(config.channels)
    if any(width % config.groups for width in config.channels):
        raise ConfigError(f"--groups {config.groups} must divide each of --channels {channels}")
    for width in config.channels[1:]:
        if width % config.heads or (width // config.heads) % 2 or width // config.heads < 6:
            raise ConfigError(
                f"--heads {config.heads} must divide --channels {channels} but the first into heads of an even number "
                "of channels, at least 6: a pair of them for each of time, row and column"
            )
    for name in ("lengths", "sides"):
        values = getattr(config, name)
        ranges.rising(name, values)
        if len(values) < 2:
            raise ConfigError(f"--{name} {ranges.as_typed(values)} must be two or more: an exponent is fitted to them")
