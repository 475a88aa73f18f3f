"""The numbers of the serving experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Positive, Several, Some


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    misfit: Positive = 0.25
    """Median relative error of the fitted bounds over all batches and contexts, at most; without the term of memory it must be larger."""
    bandwidth: Positive = 0.85
    """Share of the measured read bandwidth that a step of one text reaches in float32, at least."""
    gain: Positive = 2.0
    """Tokens per second of the largest number of texts over those of one, at least."""
    continuous: Positive = 1.1
    """Tokens per second with refilled places over those of batches that wait for their longest text, at least."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    batches: Some[Count] = (1, 2, 4, 8, 16)
    """Texts at once, from few to many."""
    contexts: Some[Annotated[int, msgspec.Meta(ge=8, le=8192)]] = (128, 512, 1024)
    """Tokens of each text that are read at a step, from few to many."""
    rounds: Several = 9
    """Times that everything is timed, in turn."""
    read_megabytes: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 540
    """Of the array whose sum measures the read bandwidth: as many as the parameters take, far more than a cache holds."""
    prompts: Count = 24
    """Texts that are generated with a batch of `places`."""
    places: Count = 8
    """Texts at once, for these."""
    longest: Annotated[int, msgspec.Meta(ge=4, le=1024)] = 96
    """Tokens of the longest of them; lengths are drawn evenly up to it."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    tiny: bool = False
    """Take a small network with random weights in place of SmolLM2: to see that everything runs."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.rising("batches", config.batches)
    ranges.rising("contexts", config.contexts)
