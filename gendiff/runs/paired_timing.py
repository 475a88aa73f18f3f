"""Paired timing: calls are timed in turn, so that what else the machine does slows all of them alike."""

import math
import time
from collections.abc import Callable, Mapping

import jax


def interleave(calls: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, tuple[float, ...]]:
    """Seconds of each call in each round; a call does the work once and answers its seconds.

    Every second round runs backwards, so that a drift of the machine favours no call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: 1 if number % 2 == 0 else -1]:
            seconds[name].append(calls[name]())
    return {name: tuple(spent) for name, spent in seconds.items()}


def timed(works: Mapping[str, Callable[[], object]], rounds: int, least: float = 0.1) -> dict[str, tuple[float, ...]]:
    """Seconds of each work done once, in each round; what it answers is waited for.

    Each is done twice before, which compiles it and says how often it must be repeated in a round to take `least`
    seconds.
    """
    for work in works.values():
        _seconds(work, 1)
    repeats = {name: max(1, math.ceil(least / max(_seconds(work, 1), 1e-6))) for name, work in works.items()}
    return interleave({name: _call(work, repeats[name]) for name, work in works.items()}, rounds)


def _call(work: Callable[[], object], repeats: int) -> Callable[[], float]:
    return lambda: _seconds(work, repeats)


def _seconds(work: Callable[[], object], repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(work())
    return (time.perf_counter() - begin) / repeats
