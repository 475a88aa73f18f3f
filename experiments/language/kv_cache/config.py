"""The numbers of the kv-cache experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs.ranges import Count, Distinct, Positive, Seed, Several, Some

SIZES = (8, 4096)
_Length = Annotated[int, msgspec.Meta(ge=SIZES[0], le=SIZES[1])]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    same: Positive = 1e-4
    """Largest difference of a logit with a cache from that of the whole forward pass, in every split and kind."""
    wrong: Positive = 1e-2
    """A wrong mask and a cache that was not rewound must differ by at least this."""
    programs: float = 1.0
    """Programs that are compiled for all steps of a text."""
    flat: float = 0.1
    """Exponent of the time of one more token in the length of the text, with a cache."""
    growing: float = 0.7
    """The same without a cache: at least."""
    bytes: float = 0.0
    """Bytes of a cache less those of the formula."""
    int8: float = 0.01
    """Change of the mean negative log-likelihood, in nats per token, by keys and values in 8 bits; in either direction."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the order of pages, and of the texts."""
    tokens: _Length = 48
    """Tokens of a text that is compared at every split."""
    window: Annotated[int, msgspec.Meta(ge=2, le=SIZES[1])] = 16
    """Tokens that each one sees, where windows are compared; below `tokens`."""
    chunks: Distinct[Count] = (1, 5, 16, 48)
    """Tokens that are read at once, where chunks are compared."""
    steps: Count = 256
    """Steps one after the other, whose programs are counted."""
    lengths: Some[_Length] = (128, 256, 512, 1024)
    """Tokens before the one that is timed, from few to many."""
    rounds: Several = 9
    """Times that everything is timed, in turn."""
    judged: _Length = 1024
    """Tokens of the text whose likelihood 8 bits may change."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    tiny: bool = False
    """Take a small network with random weights in place of SmolLM2: to see that everything runs."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    if config.window >= config.tokens:
        raise ConfigError(f"--window {config.window} must be below --tokens {config.tokens}, or no token leaves it")
    if len(config.lengths) < 2 or list(config.lengths) != sorted(set(config.lengths)):
        raise ConfigError(f"--lengths {' '.join(map(str, config.lengths))} must be two or more that rise: an exponent is fitted to them")
