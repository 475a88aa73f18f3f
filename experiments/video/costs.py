"""What clips cost: one evaluation, by frames and by pixels, in seconds and operations; a frame of a rollout, with and
without a cache.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.video import draws, networks
from gendiff.commands.video.config import ATTENTIONS, CAUSAL, FACTORISED, FULL, Config
from gendiff.core.types import Params
from gendiff.runs import paired_timing
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.study import Measured

FRAMES, PIXELS = "frames", "pixels"
"""What grows: the number of frames at one size, or the pixels of a frame at one number of frames."""
AXES = (FRAMES, PIXELS)
CACHED, WHOLE = "a frame of a rollout, with the cache", "a frame of a rollout, without the cache"
Spent = Mapping[str, np.ndarray]
"""Seconds of each round of an evaluation, called by attention, frames and side, and of a frame of a rollout."""


def sizes(config: Config, axis: str) -> list[tuple[int, int]]:
    """(frames, pixels of a side) of the clips along an axis."""
    return (
        [(length, config.side) for length in config.lengths]
        if axis == FRAMES
        else [(config.frames, side) for side in config.sides]
    )


def values(config: Config, axis: str) -> np.ndarray:
    """What grows along an axis: frames, or pixels of a frame."""
    return np.array([frames if axis == FRAMES else side**2 for frames, side in sizes(config, axis)], np.float64)


def timed(config: Config, params: Mapping[str, Params]) -> Spent:
    """By trained networks of one seed, one evaluation after the other."""
    works: dict[str, Callable[[], Any]] = {}
    for attention in ATTENTIONS:
        evaluate = networks.jit(networks.predict(config, attention))
        for frames, side in dict.fromkeys(size for axis in AXES for size in sizes(config, axis)):
            inputs = networks.zeros(config, attention, frames=frames, side=side)
            works[f"{attention} {frames} {side}"] = functools.partial(evaluate, params[attention], *inputs)
    # Rollouts of as many frames as are seen, and the next frame of clips that are known.
    together, key = config.together, jax.random.key(draws.SEED)
    index, label = jnp.arange(together), jnp.asarray(draws.labels(together))
    before, noise, cache = jnp.zeros((together, *draws.shape(config))), jnp.float32(0.0), draws.empty(config, together)
    frame_program = networks.jit(functools.partial(draws.next_frame, config, config.sampling_steps))
    works[CACHED] = functools.partial(draws.rollouts(config), params[CAUSAL], key, index, label, noise, cache)
    works[WHOLE] = functools.partial(frame_program, params[CAUSAL], key, before, index, label)
    spent = paired_timing.timed(works, config.rounds, config.call_seconds)
    return {name: np.array(rounds) / (config.frames if name == CACHED else 1) for name, rounds in spent.items()}


def measure(config: Config, spent: Spent) -> Iterator[Measured]:
    """How costs grow, by exponents, and what a frame costs."""

    def seconds(axis: str, attention: str) -> np.ndarray:
        """(rounds, places) of an evaluation."""
        return np.array([spent[f"{attention} {frames} {side}"] for frames, side in sizes(config, axis)]).T

    for attention in ATTENTIONS:
        numbers: dict[str, CellValue] = {}
        for axis in AXES:
            slope = functools.partial(intervals.exponent, values(config, axis))
            numbers[f"operations by {axis}"] = slope(flops(config, axis, attention))
            numbers[f"seconds by {axis}"] = intervals.interval(
                slope, seconds(axis, attention), resamples=config.resamples
            )
        if attention == FULL:
            slope = functools.partial(intervals.exponent, values(config, FRAMES))
            both = seconds(FRAMES, FULL), seconds(FRAMES, FACTORISED)
            numbers["operations above"] = slope(flops(config, FRAMES, FULL)) - slope(flops(config, FRAMES, FACTORISED))
            numbers["seconds above"] = intervals.interval(
                lambda full, factorised, slope=slope: slope(full) - slope(factorised),
                *both,
                paired=True,
                resamples=config.resamples,
            )
        arrays = {axis: (values(config, axis), seconds(axis, attention)) for axis in AXES}
        yield Measured(f"{attention} attention", numbers, None, config.rounds, "costs", arrays)
    operations = frame_flops(config)
    for way in (CACHED, WHOLE):
        milliseconds = intervals.interval(np.median, 1000 * spent[way] / config.together, resamples=config.resamples)
        numbers = {"operations": operations[way], "milliseconds": milliseconds}
        if way == WHOLE:
            numbers["times"] = intervals.interval(np.median, spent[WHOLE] / spent[CACHED], resamples=config.resamples)
        yield Measured(way, numbers, None, config.rounds, "frame")


def flops(config: Config, axis: str, attention: str) -> np.ndarray:
    """(places,) operations of one evaluation of one clip."""
    return np.array([networks.forward_flops(config, attention, *size) for size in sizes(config, axis)])


def frame_flops(config: Config) -> dict[str, float]:
    """Operations of one frame of a rollout. With the cache one more evaluation writes the frame into it."""
    full = networks.forward_flops(config, CAUSAL, config.frames, config.side)
    return {CACHED: (config.sampling_steps + 1) * networks.cached_flops(config), WHOLE: config.sampling_steps * full}
