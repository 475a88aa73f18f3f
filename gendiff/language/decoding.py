"""The loop that generates texts, and its rule of sampling. Also known as: autoregressive decoding.

Token j of text i is a function of (parameters, key, index[i], j, text so far): it is the largest of processed logits
plus Gumbel noise drawn from fold_in(fold_in(key, index[i]), j). Batch, order, padding, chunks and other texts do not
enter.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jaxtyping import Array, Float, Int, Integer

from gendiff.core import arrays, checks, records, sample_keys
from gendiff.core.types import ArrayLike, Count, DType, Keys
from gendiff.language.cache import Cache
from gendiff.language.next_logits import Model
from gendiff.language.processors import Context, Ids, Processor

OnToken = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
"""Receives each step in NumPy: (index (b,), number of each text's token (b,), tokens (b,), −1 for an ended text)."""


@records.record
class Generated:
    """Generated texts.

    Attributes:
        tokens: (b, n) ids, behind which −1 stands. A token that stopped its text is the last one.
        length: (b,) how many there are.
        log_probs: (b, n) logarithm of each one's probability in the distribution that it was drawn from; 0 behind them.
        finished: (b,) whether the text stopped by itself, and not for want of room, at `num_tokens`, or because nothing
            was possible.
        cache: with the prompt and all tokens but the last one, which comes before what follows: see `generate`.
    """

    tokens: jax.Array
    length: jax.Array
    log_probs: jax.Array
    finished: jax.Array
    cache: Cache


@records.record
class Running:
    """Texts on their way, one a row.

    Attributes:
        cache: with every token but the last one of each text.
        text: (b, s) ids of prompt and generated tokens, behind which −1 stands.
        length: (b,) how many there are.
        generated: (b,) how many of these were generated.
        active: (b,) whether the text goes on.
        log_probs: (b, n) of the generated tokens.
        finished: (b,) whether a token stopped it.
    """

    cache: Cache
    text: jax.Array
    length: jax.Array
    generated: jax.Array
    active: jax.Array
    log_probs: jax.Array
    finished: jax.Array


def generate(
    key: jax.Array,
    next_logits: Model,
    cache: Cache,
    prompt: Int[ArrayLike, "b p"],
    index: Integer[ArrayLike, "b"],
    *,
    max_tokens: int,
    processor: Processor | None = None,
    num_tokens: Count | np.ndarray | None = None,
    stop: Ids = (),
    chunk: int = 64,
    on_token: OnToken | None = None,
) -> Generated:
    """Generate a text after each prompt. Call it under `jit`: it compiles anew otherwise.

    One compile serves every length of prompts within their padding, every number in the processor, stop, key, index and
    `num_tokens`. To go on, call it again with the cache it returned and a prompt that begins with each text's last
    token.

    Args:
        key: one typed key.
        next_logits: the model, such as `from_network` makes.
        cache: of b texts; it may hold tokens, to which the prompts are added.
        prompt: (b, p) ids, behind which −1 may stand. A text without any generates nothing.
        index: (b,) integers 0 … 2**32 - 1 that name the texts.
        max_tokens: the largest number of tokens to generate, ≥ 1.
        processor: (logits, context) -> logits, see `processors`. None: the model's own distribution.
        num_tokens: () or (b,) how many tokens to generate at most, 0 … max_tokens, as data. None: max_tokens.
        stop: (k,) ids, or (b, k) for each text, after any of which a text ends; −1 stands for none.
        chunk: how many tokens of the prompts are read at once. Memory of reading grows with it. As many chunks are read
            as the longest prompt has.
        on_token: is called on the host after each token as `on_token(index, number, token)`, all (b,), in order, while
            the program goes on. Call `jax.effects_barrier()` to wait for the last ones. It is not for `vmap`.

    Raises:
        TypeError: for a legacy or missing key, ids that are no integers, and a processor that is no function.
        ValueError: where p + max_tokens exceeds the cache's capacity, or what is left of it where that is known; for
            shapes that do not agree, numbers outside the ranges above, and padding before tokens. Nothing is cut off to
            fit.
    """
    keys, prompt, length = checked_texts(key, index, prompt)
    checks.integer("max_tokens", max_tokens, 1)
    checks.integer("chunk", chunk, 1)
    check_room(cache, prompt.shape, max_tokens)
    limit = checked_number(num_tokens, max_tokens, prompt.shape[0])
    ends = checked_stop(stop, prompt.shape[0])
    numbers = sample_keys.checked_index(index)

    def body(state: Running) -> Running:
        active = state.active
        after = advance(keys, next_logits, state, processor, limit, ends)
        if on_token is not None:
            grown = after.generated > state.generated
            token = jnp.where(grown, _at(after.text, after.length - 1), -1)
            number = jnp.where(active, state.generated, -1)
            io_callback(lambda *values: on_token(*map(np.asarray, values)), None, numbers, number, token, ordered=True)
        return after

    first = started(prefilled(next_logits, cache, prompt, length, chunk), prompt, length, limit, max_tokens)
    last = jax.lax.while_loop(lambda state: jnp.any(state.active), body, first)
    tokens = generated_tokens(last, length, max_tokens)
    held = last.cache.rewound(first.cache.length + last.generated)  # a last step that could not grow read its token
    return Generated(tokens, last.generated, last.log_probs, last.finished, held)


def advance(
    keys: Keys, next_logits: Model, state: Running, processor: Processor | None, limit: Array, ends: Array
) -> Running:
    """Lengthen every active text by one token.

    Args:
        keys: (b,) of the texts.
        next_logits: the model.
        state: the texts.
        processor: None, or (logits, context) -> logits.
        limit: (b,) how many tokens each generates at most.
        ends: (b, k) which tokens stop each.
    """
    newest = jnp.where(state.active, _at(state.text, state.length - 1), -1)
    logits, cache = next_logits(newest[:, None], state.cache)
    context = Context(state.text, state.length, state.generated)
    token, log_prob = draw(folded(keys, state.generated), processed(processor, logits, context))
    grown = state.active & jnp.isfinite(log_prob)  # else nothing is allowed, or the model's answer is no number
    rows = jnp.arange(token.shape[0])
    text = state.text.at[rows, jnp.where(grown, state.length, state.text.shape[1])].set(token, mode="drop")
    log_probs = state.log_probs.at[rows, jnp.where(grown, state.generated, state.log_probs.shape[1])].set(
        log_prob, mode="drop"
    )
    generated = state.generated + grown
    stopped = grown & jnp.any(token[:, None] == ends, 1)
    active = grown & ~stopped & (generated < limit)
    return Running(cache, text, state.length + grown, generated, active, log_probs, state.finished | stopped)


def draw(keys: Keys, logits: Float[Array, "b v"]) -> tuple[Int[Array, " b"], Float[Array, " b"]]:
    """Draw a token (b,) of softmax(logits) by each key (b,). Its log-probability is not finite if none is possible."""
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:], logits.dtype))(keys)
    token = arrays.argmax(logits + noise)
    return token, _at(jax.nn.log_softmax(logits, 1), token)


def processed(processor: Processor | None, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
    """The processed logits, in at least float32."""
    wide = arrays.widened(logits)
    result = wide if processor is None else processor(wide, context)
    if result.shape != logits.shape:
        raise ValueError(
            f"the processor answered shape {result.shape} to logits of shape {logits.shape}: they must be equal"
        )
    return result


class Read(NamedTuple):
    """Prompts that are read.

    Attributes:
        cache: with all their tokens but the last ones.
        dtype: of probabilities: that of the logits, at least float32.
    """

    cache: Cache
    dtype: DType


def prefilled(
    next_logits: Model, cache: Cache, prompt: Int[Array, "b p"], length: Int[Array, " b"], chunk: int
) -> Read:
    """All tokens of the prompts but the last ones, read in chunks, as many as the longest prompt of length (b,) has."""
    size = min(chunk, prompt.shape[1])
    last = jnp.arange(prompt.shape[1])[None] == length[:, None] - 1
    padded = jnp.pad(jnp.where(last, -1, prompt), ((0, 0), (0, -prompt.shape[1] % size)), constant_values=-1)
    chunks = (jnp.max(length) - 1 + size - 1) // size

    dtypes = []

    def read(number: Array, cache: Cache) -> Cache:
        logits, cache = next_logits(jax.lax.dynamic_slice_in_dim(padded, number * size, size, 1), cache)
        dtypes.append(logits.dtype)
        return cache

    after = jax.lax.fori_loop(0, chunks, read, cache)
    if not dtypes:  # without jit a loop of no chunk is not traced
        dtypes.append(jax.eval_shape(next_logits, prompt[:, :1], cache)[0].dtype)
    return Read(after, arrays.at_least_float32(dtypes[0]))


def started(
    read: Read, prompt: Int[Array, "b p"], length: Int[Array, " b"], limit: Array, max_tokens: int, spare: int = 0
) -> Running:
    """Texts whose prompts are read, without a token so far; `spare` places more stand behind each."""
    text = jnp.pad(prompt, ((0, 0), (0, max_tokens + spare)), constant_values=-1)
    none = jnp.zeros_like(length)
    log_probs = jnp.zeros((length.shape[0], max_tokens), read.dtype)
    return Running(read.cache, text, length, none, (length > 0) & (limit > 0), log_probs, none > 0)


def generated_tokens(state: Running, start: Int[Array, " b"], max_tokens: int) -> Int[Array, "b n"]:
    """The tokens (b, max_tokens) behind the prompts, whose lengths are `start` (b,)."""
    return jnp.take_along_axis(state.text, start[:, None] + jnp.arange(max_tokens, dtype=start.dtype)[None], 1)


def folded(keys: Keys, numbers: Int[Array, " b"]) -> Keys:
    """Each key (b,) folded with its own number (b,)."""
    return jax.vmap(jax.random.fold_in)(keys, numbers)


def checked_texts(
    key: jax.Array, index: Integer[ArrayLike, "b"], prompt: ArrayLike
) -> tuple[Keys, Int[Array, "b p"], Int[Array, " b"]]:
    """The keys of the texts, their prompts and the lengths of these. Raises as `generate` does."""
    keys, (ids, length) = sample_keys.keys_of(key, index), checked_prompt(prompt)
    if keys.shape[0] != ids.shape[0]:
        raise ValueError(f"index names {keys.shape[0]} texts, but there are {ids.shape[0]} prompts")
    return keys, ids, length


def checked_prompt(prompt: ArrayLike) -> tuple[Int[Array, "b p"], Int[Array, " b"]]:
    """The prompts and their lengths. Raises as `generate` does."""
    if prompt.ndim != 2 or prompt.shape[1] < 1:
        raise ValueError(f"prompt has shape {prompt.shape}: (texts, tokens) with at least one token is needed")
    if not jnp.issubdtype(prompt.dtype, jnp.integer):
        raise TypeError(f"prompt must hold integers, got {prompt.dtype}")
    if arrays.is_concrete(prompt):
        is_token = np.asarray(prompt) >= 0
        if np.any(is_token[:, 1:] & ~is_token[:, :-1]):
            raise ValueError("prompt has padding before tokens: −1 stands behind the tokens of a text")
    result = jnp.asarray(prompt).astype(jnp.int32)
    return result, jnp.sum(result >= 0, 1, dtype=jnp.int32)


def check_room(cache: Cache, shape: tuple[int, ...], max_tokens: int) -> None:
    """ValueError unless prompts of this shape (b, p) and the tokens to come fit into the cache."""
    if cache.length.shape != shape[:1]:
        raise ValueError(f"the cache is of {cache.length.shape[0]} texts, but there are {shape[0]} prompts")
    held = int(np.max(np.asarray(cache.length))) if arrays.is_concrete(cache.length) and cache.length.size else 0
    if held + shape[1] + max_tokens > cache.capacity:
        raise ValueError(
            f"{held} tokens in the cache, {shape[1]} of the prompt and max_tokens = {max_tokens} need room for "
            f"{held + shape[1] + max_tokens}, but the cache holds {cache.capacity}"
        )


def checked_number(num_tokens: Count | np.ndarray | None, max_tokens: int, texts: int) -> Int[Array, " b"]:
    """How many tokens each text generates at most (b,)."""
    if num_tokens is None:
        return jnp.full(texts, max_tokens, jnp.int32)
    checks.in_range("num_tokens", num_tokens, 0.0, float(max_tokens))
    return jnp.minimum(jnp.broadcast_to(jnp.asarray(num_tokens, jnp.int32), (texts,)), max_tokens)


def checked_stop(stop: Ids, texts: int) -> Int[Array, "b k"]:
    """The tokens that stop each text (b, k), −2 for none, which no token is."""
    ids = jnp.asarray(stop, jnp.int32) if np.size(stop) == 0 else jnp.asarray(stop)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"stop must hold integers, got {ids.dtype}")
    if ids.ndim not in (1, 2) or (ids.ndim == 2 and ids.shape[0] != texts):
        raise ValueError(f"stop has shape {ids.shape}: (k,) for all texts or ({texts}, k) for each is needed")
    rows = ids if ids.ndim == 2 else ids[None]
    return jnp.broadcast_to(jnp.where(rows < 0, -2, rows), (texts, rows.shape[1]))


def _at(values: Array, places: Array) -> Array:
    """The entry of each row (b, s) at its place (b,), the first one for a negative place."""
    return jnp.take_along_axis(values, jnp.maximum(places, 0)[:, None], 1)[:, 0]
