"""Beam search: the likeliest texts, several of which grow side by side."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, DType, Scalar
from gendiff.language import decoding
from gendiff.language.cache import Cache
from gendiff.language.next_logits import Model
from gendiff.language.processors import Context, Ids, Processor


@records.record
class Beams:
    """The best texts of each prompt, the best first.

    Attributes:
        tokens: (b, k, n) ids, behind which −1 stands. A token that stopped its text is the last one.
        length: (b, k) how many there are.
        log_probs: (b, k) logarithm of the probability of all of them together, −inf where there are fewer texts than k.
        scores: (b, k) that over the penalty of its length, by which they are ordered.
        finished: (b, k) whether a stop ended the text.
    """

    tokens: jax.Array
    length: jax.Array
    log_probs: jax.Array
    scores: jax.Array
    finished: jax.Array


@records.record
class Growing:
    """Beams on their way: k that grow, and the best k that have ended."""

    cache: Cache
    text: jax.Array
    log_probs: jax.Array
    step: jax.Array
    ended: Beams


def beam_search(
    next_logits: Model,
    cache: Cache,
    prompt: Int[ArrayLike, "b p"],
    *,
    beams: int,
    max_tokens: int,
    stop: Ids = (),
    penalty: Scalar = 0.0,
    processor: Processor | None = None,
    chunk: int = 64,
) -> Beams:
    """Search the texts after each prompt whose probability is largest. Call it under `jit`.

    Texts that stop compete with those that grow by log p / ((5 + length) / 6)^penalty. With as many beams as there are
    texts it is exact.

    Args:
        next_logits: the model.
        cache: of b texts, which can be reordered (not a paged one).
        prompt: (b, p) ids, behind which −1 may stand.
        beams: how many texts grow side by side, and are answered, ≥ 1.
        max_tokens: the largest number of tokens, ≥ 1.
        stop: (k,) ids after any of which a text ends; −1 stands for none.
        penalty: () ≥ 0, as data. 0 compares log-probabilities; more favours longer texts.
        processor: (logits, context) -> logits.
        chunk: how many tokens of the prompts are read at once.

    Raises:
        TypeError: for a paged cache, and ids that are no integers.
        ValueError: for a cache without room, and numbers outside the ranges above.

    References:
        Wu et al., 2016, Eq. 14 (from memory).
    """
    prompt, length = decoding.checked_prompt(prompt)
    for name, value in (("beams", beams), ("max_tokens", max_tokens), ("chunk", chunk)):
        checks.integer(name, value, 1)
    checks.in_range("penalty", penalty, 0.0, float("inf"), open_high=True)
    decoding.check_room(cache, prompt.shape, max_tokens)
    ends = decoding.checked_stop(stop, 1)
    b = prompt.shape[0]
    rows = jnp.repeat(jnp.arange(b), beams)
    read = decoding.prefilled(next_logits, cache, prompt, length, chunk)
    read = read._replace(cache=read.cache.reordered(rows))
    running = decoding.started(read, prompt[rows], length[rows], jnp.ones_like(rows), max_tokens)
    dtype = running.log_probs.dtype

    def normalised(log_probs: Array, length: Array) -> Array:
        return log_probs / ((5 + length).astype(dtype) / 6) ** jnp.asarray(penalty, dtype)

    def body(state: Growing) -> Growing:
        total = length[rows] + state.step
        newest = jnp.take_along_axis(state.text, jnp.maximum(total - 1, 0)[:, None], 1)
        logits, held = next_logits(newest, state.cache)
        context = Context(state.text, total, jnp.full_like(total, state.step))
        log_probs = jax.nn.log_softmax(decoding.processed(processor, logits, context), 1)
        summed = (state.log_probs.reshape(-1, 1) + log_probs).reshape(b, beams, -1)
        summed = jnp.where(jnp.isnan(summed), -jnp.inf, summed)
        stops = jnp.any(jnp.arange(summed.shape[2])[:, None] == ends, 1)
        parent, token, best = _best(jnp.where(stops[None, None], -jnp.inf, summed), beams)
        text = _longer(state.text, length, state.step, parent, token)
        after, last, score = _best(jnp.where(stops[None, None], summed, -jnp.inf), beams)
        tokens = _generated(_longer(state.text, length, state.step, after, last), length, max_tokens)
        new = jnp.full((b, beams), state.step + 1, jnp.int32)
        stopped = Beams(tokens, new, score, normalised(score, new), score > -jnp.inf)
        chosen = (parent + beams * jnp.arange(b)[:, None]).reshape(-1)
        return Growing(held.reordered(chosen), text, best, state.step + 1, _merged(state.ended, stopped, beams))

    def going(state: Growing) -> Array:
        # log p only falls, its penalty is then the largest
        hope = normalised(jnp.max(state.log_probs, 1), jnp.asarray(max_tokens))
        return (state.step < max_tokens) & jnp.any(hope > jnp.min(state.ended.scores, 1))

    alone = jnp.where(jnp.arange(beams)[None] == 0, 0.0, -jnp.inf).astype(dtype)
    first = Growing(
        running.cache,
        running.text,
        jnp.tile(alone, (b, 1)),
        jnp.zeros((), jnp.int32),
        _none(b, beams, max_tokens, dtype),
    )
    last = jax.lax.while_loop(going, body, first)
    count = jnp.full((b, beams), last.step, jnp.int32)
    tokens = _generated(last.text, length, max_tokens)
    open_ = Beams(tokens, count, last.log_probs, normalised(last.log_probs, count), jnp.zeros((b, beams), bool))
    return _merged(last.ended, open_, beams)


def _best(
    values: Float[Array, "b k v"], number: int
) -> tuple[Int[Array, "b n"], Int[Array, "b n"], Float[Array, "b n"]]:
    """Beam, token and value of the largest values of each text."""
    top, at = jax.lax.top_k(values.reshape(values.shape[0], -1), number)
    return at // values.shape[2], at % values.shape[2], top


def _longer(text: Array, length: Array, step: Array, parent: Int[Array, "b k"], token: Int[Array, "b k"]) -> Array:
    """The texts (b · k, s) of parents, one token longer."""
    b, beams = parent.shape
    chosen = text[(parent + beams * jnp.arange(b)[:, None]).reshape(-1)]
    return chosen.at[jnp.arange(b * beams), jnp.repeat(length, beams) + step].set(token.reshape(-1).astype(jnp.int32))


def _generated(text: Array, length: Array, max_tokens: int) -> Int[Array, "b k n"]:
    b = length.shape[0]
    places = jnp.repeat(length, text.shape[0] // b)[:, None] + jnp.arange(max_tokens)[None]
    return jnp.take_along_axis(text, places, 1).reshape(b, -1, max_tokens)


def _none(b: int, beams: int, max_tokens: int, dtype: DType) -> Beams:
    worst = jnp.full((b, beams), -jnp.inf, dtype)
    none = jnp.zeros((b, beams), jnp.int32)
    return Beams(jnp.full((b, beams, max_tokens), -1, jnp.int32), none, worst, worst, none > 0)


def _merged(first: Beams, second: Beams, number: int) -> Beams:
    """The best of both, those of the first one before equals."""
    both = jax.tree.map(lambda one, other: jnp.concatenate([one, other], 1), first, second)
    _, at = jax.lax.top_k(both.scores, number)
    best: Beams = jax.tree.map(
        lambda values: jnp.take_along_axis(values, at.reshape(*at.shape, *(1,) * (values.ndim - 2)), 1), both
    )
    return best
