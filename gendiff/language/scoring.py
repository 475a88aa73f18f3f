"""Log-likelihoods of texts under a model."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Count, Params, PyTree
from gendiff.language import decoding
from gendiff.language.cache import Cache
from gendiff.language.next_logits import Model
from gendiff.language.processors import Context, Processor


def log_probs(
    next_logits: Model, cache: Cache, tokens: Int[ArrayLike, "b s"], *, chunk: int = 64
) -> Float[Array, "b s-1"]:
    """Log p of each token but the first one, given those before it. The sum over a text is its log-likelihood.

    Args:
        next_logits: the model.
        cache: of b texts, with room for s.
        tokens: (b, s) ids, s ≥ 2, behind which −1 may stand; 0 is answered there.
        chunk: how many tokens are read at once: logits of so many are in memory.

    Raises:
        TypeError: for ids that are no integers.
        ValueError: for a cache without room, and less than two tokens.
    """
    checks.integer("chunk", chunk, 1)
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(f"tokens has shape {tokens.shape}: (texts, tokens) with at least two tokens is needed")
    ids, _ = decoding.checked_prompt(tokens)
    decoding.check_room(cache, ids.shape, 0)
    target = ids[:, 1:]
    before = jnp.where(target >= 0, ids[:, :-1], -1)
    size = min(chunk, before.shape[1])
    over = ((0, 0), (0, -before.shape[1] % size))
    parts = [
        jnp.pad(values, over, constant_values=-1).reshape(len(values), -1, size).swapaxes(0, 1)
        for values in (before, target)
    ]

    def read(cache: Cache, part: tuple[Array, ...]) -> tuple[Cache, Array]:
        logits, cache = next_logits(part[0], cache, True)
        wide = arrays.widened(logits)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(wide, 2), jnp.maximum(part[1], 0)[..., None], 2)[..., 0]
        return cache, jnp.where(part[1] >= 0, chosen, 0)

    _, result = jax.lax.scan(read, cache, tuple(parts))
    return result.swapaxes(0, 1).reshape(ids.shape[0], -1)[:, : target.shape[1]]


def sampled_log_probs(
    predict: Callable[..., tuple[PyTree, ...]],
    params: Params,
    tokens: Int[ArrayLike, "b s"],
    start: Count | np.ndarray,
    processor: Processor | None = None,
) -> Float[Array, "b s-1"]:
    """Log p of each generated token in the distribution that it was drawn from, with its gradient.

    It takes one call of the network.

    They are the `log_probs` of `generate` with the same processor: temperature and truncation are part of the policy,
    and a policy gradient that leaves them out compares probabilities of two different policies. Column j is about token
    j + 1.

    A token that the processor makes impossible has −inf. That happens where params have moved since it was drawn and a
    truncation, such as top-k, now ends before it.

    Args:
        predict: the network, (params, tokens (b, s)) -> (logits (b, s, v), …), such as
            `networks.pure(networks.LanguageModel(…))`.
        params: its parameters.
        tokens: (b, s) ids of each prompt and what was generated after it, s ≥ 2, behind which −1 may stand.
        start: () or (b,) how many tokens each prompt has, ≥ 1. Tokens before that place, and padding, have 0.
        processor: (logits, context) -> logits, as of `generate`; it sees (s − 1) · b rows of (v,), and (s − 1) · b · s
            tokens, at once.

    Raises:
        TypeError: for ids that are no integers.
        ValueError: for less than two tokens, padding before tokens, and a concrete start outside 1 … s.
    """
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(f"tokens has shape {tokens.shape}: (texts, tokens) with at least two tokens is needed")
    checks.in_range("start", start, 1.0, float(tokens.shape[1]))
    ids, length = decoding.checked_prompt(tokens)
    before, target = ids[:, :-1], ids[:, 1:]
    first = jnp.broadcast_to(jnp.asarray(start, jnp.int32), ids.shape[:1])
    logits = predict(params, before)[0]
    position = jnp.arange(1, ids.shape[1], dtype=jnp.int32)
    generated = (target >= 0) & (position[None] >= first[:, None])
    safe = jnp.where(generated[..., None], logits, 0)  # what padding answers may be no number

    def at(position: Array, logits: Array, token: Array) -> Array:
        so_far = jnp.where(jnp.arange(ids.shape[1])[None] < position, ids, -1)
        context = Context(so_far, jnp.minimum(position, length), jnp.maximum(position - first, 0))
        final = decoding.processed(processor, logits, context)
        return jnp.take_along_axis(jax.nn.log_softmax(final, 1), jnp.maximum(token, 0)[:, None], 1)[:, 0]

    result = jax.vmap(at, in_axes=(0, 1, 1), out_axes=1)(position, safe, target)
    return jnp.where(generated, result, 0)
