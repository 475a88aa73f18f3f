"""Responses to prompts of one length: a network writes them, and says how likely it holds given ones. Both belong under
jit.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gendiff import language, networks
from gendiff.core.types import Params
from gendiff.language import processors, scoring
from gendiff.language.decoding import Generated


def write(
    network: networks.LanguageModel,
    params: Params,
    key: jax.Array,
    prompt: jax.Array,
    index: jax.Array,
    count: int,
    *,
    temperature: float,
    stop: tuple[int, ...] = (),
) -> Generated:
    """Write `count` tokens behind each prompt (n, p), or fewer where one of `stop` ends them. Other arguments are those
    of `generate`.
    """
    cache = language.cache.full(network, prompt.shape[0], prompt.shape[1] + count)
    model, warm = language.from_network(networks.pure(network), params), processors.temperature(temperature)
    return language.generate(
        key, model, cache, jnp.asarray(prompt, jnp.int32), index, max_tokens=count, processor=warm, stop=stop
    )


def log_probs(predict: Any, params: Params, rows: jax.Array, first: int | jax.Array) -> jax.Array:
    """(n,) log-probability of the tokens of each row (n, s) from place `first` on, () or (n,), given those before them,
    with its gradient.
    """
    return jnp.sum(scoring.sampled_log_probs(predict, params, rows, first), 1)
