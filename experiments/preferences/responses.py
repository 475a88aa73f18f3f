"""Responses to prompts of one length: a network writes them, and says how likely it holds given ones. Both belong under jit."""

from typing import Any

import jax
import jax.numpy as jnp

from gendiff import language, networks
from gendiff.core.types import Params
from gendiff.language import processors
from gendiff.language.decoding import Generated
from gendiff.preferences import direct


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
    """Write `count` tokens behind each prompt (n, p), or fewer where one of `stop` ends them. Other arguments are those of `generate`."""
    cache = language.cache.full(network, prompt.shape[0], prompt.shape[1] + count)
    model, warm = language.from_network(networks.pure(network), params), processors.temperature(temperature)
    return language.generate(key, model, cache, jnp.asarray(prompt, jnp.int32), index, max_tokens=count, processor=warm, stop=stop)


def log_probs(predict: Any, params: Params, rows: jax.Array, first: int) -> jax.Array:
    """(n,) log-probability of the tokens of each row (n, s) from place `first` on, given those before them, with its gradient."""
    logs = jax.nn.log_softmax(predict(params, rows[:, :-1]).logits, 2)
    steps = jnp.take_along_axis(logs, jnp.asarray(rows)[:, 1:, None], 2)[..., 0]
    acted = jnp.broadcast_to((jnp.arange(steps.shape[1]) >= first - 1)[None], steps.shape)
    return direct.sequence_log_probs(steps, acted)
