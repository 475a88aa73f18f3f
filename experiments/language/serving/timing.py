"""Seconds of a step by batch and context, the read bandwidth of the machine, and the bounds that fit the seconds."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from experiments.language.serving.config import Config
from gendiff import language, networks, scaling
from gendiff.commands.chat import steps
from gendiff.core import records
from gendiff.language import cache as caches
from gendiff.pipelines import Chat
from gendiff.runs import interleaving
from gendiff.weights import quantised

Place = tuple[int, int]
"""(texts at once, tokens that each of them has)."""
READ = "read"


@dataclass(frozen=True)
class Sizes:
    """Of a model: parameters that a token is multiplied by, bytes of all, and bytes of the keys and values of one token."""

    parameters: float
    nbytes: float
    per_token: float


def sizes(chat: Chat) -> Sizes:
    """Counted from the arrays."""
    each = caches.nbytes(caches.full(chat.network, 1, 2).layers) / 2
    return Sizes(float(networks.count(chat.params)), float(quantised.nbytes(chat.params)), each)


def measured(config: Config, chat: Chat) -> tuple[dict[Place, np.ndarray], np.ndarray]:
    """(seconds (rounds,) of a step at each place, bytes per second (rounds,) of one sum over a large array)."""
    step = steps.in_place()
    next_logits = language.from_network(networks.pure(chat.network), chat.params)
    large = jnp.ones((config.read_megabytes * 250_000,), jnp.float32)
    works: dict[str, Any] = {READ: functools.partial(steps.jit(jnp.sum), large)}
    names = {}
    for context in config.contexts:
        for batch in config.batches:
            empty = caches.full(chat.network, batch, context)
            cache = records.replace(empty, length=jnp.full((batch,), context - 1, jnp.int32))  # all slots are read, whatever they hold
            names[f"{batch} × {context}"] = batch, context
            works[f"{batch} × {context}"] = step(next_logits, jnp.ones((batch, 1), jnp.int32), cache)
    spent = interleaving.timed(works, config.rounds)
    return {place: np.array(spent[name]) for name, place in names.items()}, large.nbytes / np.array(spent[READ])


def fitted(of: Sizes, seconds: Mapping[Place, float], *, memory: bool = True) -> tuple[scaling.Accelerator, float]:
    """The two rates whose bounds fit the seconds best, in logarithms, and their median relative error. memory=False: arithmetic alone."""
    places = np.array(list(seconds), float)
    logs = np.log(list(seconds.values()))

    def bounds(rates: np.ndarray) -> np.ndarray:
        flops, bandwidth = np.exp(rates)
        if not memory:
            return 2 * places[:, 0] * of.parameters / flops
        machine = scaling.Accelerator("this machine", float(flops), float(bandwidth))
        return np.asarray(scaling.roofline.step_time(places[:, 0], of.parameters, of.nbytes, places[:, 1] * of.per_token, machine))

    start = np.log([5e10, 2e10])
    best = scipy.optimize.minimize(lambda rates: np.mean((np.log(bounds(rates)) - logs) ** 2), start, method="Nelder-Mead").x
    flops, bandwidth = np.exp(best)
    error = float(np.median(np.abs(bounds(best) / np.exp(logs) - 1)))
    return scaling.Accelerator("this machine", float(flops), float(bandwidth)), error


def waiting(lengths: np.ndarray, places: int) -> int:
    """Steps of batches of `places` texts in turn, each of which goes on until its longest text ends."""
    return int(sum(lengths[start : start + places].max() for start in range(0, len(lengths), places)))


def generated(config: Config, chat: Chat, prompts: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
    """Two works that generate texts of these lengths: in batches that wait for their longest, and with places that are refilled."""
    key, index = jax.random.key(0), np.arange(len(prompts))
    next_logits = language.from_network(networks.pure(chat.network), chat.params)
    room = prompts.shape[1] + config.longest
    empty = caches.full(chat.network, config.places, min(room, chat.network.context))
    together = steps.jit(language.generate, static_argnames=("max_tokens",))
    refilled = steps.jit(language.serve, static_argnames=("max_tokens",))

    def in_batches() -> Any:
        return [
            together(
                key,
                next_logits,
                empty,
                prompts[start : start + config.places],
                index[start : start + config.places],
                max_tokens=config.longest,
                num_tokens=lengths[start : start + config.places],
            ).tokens
            for start in range(0, len(prompts), config.places)
        ]

    def continuously() -> Any:
        return refilled(key, next_logits, empty, prompts, index, max_tokens=config.longest, num_tokens=lengths).tokens

    return {"batches that wait": in_batches, "refilled places": continuously}
