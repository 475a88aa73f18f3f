"""What clips cost: one evaluation, by frames and by pixels, in seconds and operations; a frame of a rollout, with and without a cache."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.video import draws, networks
from gendiff.commands.video.config import ATTENTIONS, CAUSAL, Config
from gendiff.core.types import Params
from gendiff.runs import interleaving
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number

FRAMES, PIXELS = "frames", "pixels"
"""What grows: the number of frames at one size, or the pixels of a frame at one number of frames."""
AXES = (FRAMES, PIXELS)
CACHED, WHOLE = "with the cache", "without"


@dataclass(frozen=True, eq=False)
class Costs:
    """seconds: (places, rounds) of one evaluation of one clip, by what grows and attention. flops: (places,) of the same.

    frame: seconds of a frame of a rollout in each round, with the cache and without.
    """

    seconds: Mapping[str, Mapping[str, np.ndarray]]
    flops: Mapping[str, Mapping[str, np.ndarray]]
    frame: Mapping[str, np.ndarray]


def sizes(config: Config, axis: str) -> list[tuple[int, int]]:
    """(frames, pixels of a side) of the clips along an axis."""
    return [(length, config.side) for length in config.lengths] if axis == FRAMES else [(config.frames, side) for side in config.sides]


def values(config: Config, axis: str) -> np.ndarray:
    """What grows along an axis: frames, or pixels of a frame."""
    return np.array([frames if axis == FRAMES else side**2 for frames, side in sizes(config, axis)], np.float64)


def measured(config: Config, params: Mapping[str, Params]) -> Costs:
    """By trained networks of one seed, one evaluation after the other."""
    works: dict[str, Callable[[], Any]] = {}
    every = dict.fromkeys(size for axis in AXES for size in sizes(config, axis))
    for attention in ATTENTIONS:
        asked = networks.jit(networks.predict(config, attention))
        for frames, side in every:
            given = networks.zeros(config, attention, frames=frames, side=side)
            works[f"{attention} {frames} {side}"] = functools.partial(asked, params[attention], *given)
    works |= _frames(config, params[CAUSAL])
    spent = interleaving.timed(works, config.rounds, config.call_seconds)

    def along(axis: str, attention: str) -> np.ndarray:
        return np.array([spent[f"{attention} {frames} {side}"] for frames, side in sizes(config, axis)])

    seconds = {axis: {attention: along(axis, attention) for attention in ATTENTIONS} for axis in AXES}
    frame = {CACHED: np.array(spent[CACHED]) / config.frames, WHOLE: np.array(spent[WHOLE])}
    return Costs(seconds, flops(config), frame)


def flops(config: Config) -> dict[str, dict[str, np.ndarray]]:
    """(places,) operations of one evaluation of one clip, by what grows and attention."""
    return {
        axis: {
            attention: np.array([networks.forward_flops(config, attention, frames, side) for frames, side in sizes(config, axis)])
            for attention in ATTENTIONS
        }
        for axis in AXES
    }


def frame_flops(config: Config) -> dict[str, float]:
    """Operations of one frame of a rollout. With the cache one more evaluation writes the frame into it."""
    whole = networks.forward_flops(config, CAUSAL, config.frames, config.side)
    return {CACHED: (config.sampling_steps + 1) * networks.cached_flops(config), WHOLE: config.sampling_steps * whole}


def exponent(along: np.ndarray, cost: np.ndarray) -> float:
    """The slope of log cost in log size, by least squares; cost is (places,), or (places, rounds), whose medians count."""
    medians = cost if cost.ndim == 1 else np.median(cost, axis=1)
    return float(np.polyfit(np.log(along), np.log(medians), 1)[0])


def measured_exponent(config: Config, along: np.ndarray, seconds: np.ndarray) -> Number:
    """That of seconds (places, rounds), with its interval over rounds."""
    return intervals.interval(lambda rounds: exponent(along, rounds.T), seconds.T, resamples=config.resamples)


def difference(config: Config, along: np.ndarray, first: np.ndarray, second: np.ndarray) -> Number:
    """The exponent of seconds (places, rounds) less that of others, which were measured in the same rounds."""

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        return exponent(along, first.T) - exponent(along, second.T)

    return intervals.interval(statistic, first.T, second.T, paired=True, resamples=config.resamples)


def _frames(config: Config, params: Params) -> dict[str, Callable[[], Any]]:
    """Rollouts of as many frames as are seen, and the next frame of clips that are known, of `together` clips."""
    steps, together = config.sampling_steps, config.together
    index, key = jnp.arange(together), jax.random.key(draws.SEED)
    label = jnp.asarray(draws.labels(together))
    before = jnp.zeros((together, *draws.shape(config)))
    whole = networks.jit(functools.partial(draws.next_frame, config, steps))
    return {
        CACHED: functools.partial(draws.rollouts(config), params, key, index, label, jnp.float32(0.0), draws.empty(config, together)),
        WHOLE: functools.partial(whole, params, key, before, index, label),
    }
