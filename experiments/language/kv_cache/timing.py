"""Seconds of one more token by the length of the text before it, with and without a cache."""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.language.kv_cache.exactness import Model
from gendiff import language, networks, scaling
from gendiff.commands.chat import steps
from gendiff.core import records
from gendiff.runs import interleaving
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number

CACHED, WHOLE = "with a cache", "without"


def seconds(model: Model, ids: np.ndarray, lengths: tuple[int, ...], rounds: int) -> dict[str, np.ndarray]:
    """(lengths, rounds) of each way. The cache has room for the longest text in every case: it is read whole, whatever is in it."""
    capacity = min(lengths[-1] + 1, model.network.context)
    step = steps.in_place()
    whole = steps.jit(lambda params, tokens: networks.pure(model.network)(params, tokens, None, False).logits)
    empty = language.cache.full(model.network, 1, capacity)
    works: dict[str, Any] = {}
    for length in lengths:
        cache = records.replace(empty, length=jnp.full((1,), length, jnp.int32))  # what is in it costs the same
        works[f"{CACHED} {length}"] = step(model.next_logits, ids[:1][None], cache)
        works[f"{WHOLE} {length}"] = functools.partial(whole, model.params, ids[:length][None])
    spent = interleaving.timed(works, rounds)
    return {way: np.array([spent[f"{way} {length}"] for length in lengths]) for way in (CACHED, WHOLE)}


def exponent(lengths: tuple[int, ...], spent: np.ndarray, resamples: int) -> Number:
    """The slope of log seconds in log length, by least squares through the medians; the interval is over rounds."""

    def slope(rounds: np.ndarray) -> float:
        return float(np.polyfit(np.log(lengths), np.log(np.median(rounds, 0)), 1)[0])

    return intervals.interval(slope, spent.T, resamples=resamples)


def programs(model: Model, ids: np.ndarray, number: int, capacity: int) -> int:
    """How many programs are compiled for a text whose tokens come one by one."""
    traces = list[None]()

    def step(next_logits: Any, tokens: Any, cache: Any) -> Any:
        traces.append(None)
        return next_logits(tokens, cache)

    jitted, cache = steps.jit(step), language.cache.full(model.network, 1, capacity)
    for place in range(number):
        _, cache = jitted(model.next_logits, ids[place % len(ids)][None, None], cache)
    return len(traces)


def formula_bytes(network: networks.LanguageModel, batch: int, capacity: int, size_of: int = 4) -> int:
    """Those of `scaling`, from the sizes of the network alone."""
    heads = network.heads if network.key_value_heads is None else network.key_value_heads
    size = network.width // network.heads if network.head_size is None else network.head_size
    return int(batch * scaling.cost.cache_bytes(capacity, network.depth, heads, size, size_of))


def table_rows(lengths: tuple[int, ...], spent: Mapping[str, np.ndarray]) -> tuple[tuple[Any, ...], ...]:
    """Milliseconds by length."""
    return tuple((length, *(float(1e3 * np.median(spent[way][at])) for way in (CACHED, WHOLE))) for at, length in enumerate(lengths))
