"""Search guided by a verifier: beams of texts grow by blocks; it keeps the best, at sight or after a look ahead."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, Keys
from gendiff.language import decoding, processors
from gendiff.language.cache import Cache
from gendiff.language.decoding import Running
from gendiff.language.next_logits import Model
from gendiff.language.processors import Ids, Processor

Value = Callable[[jax.Array, jax.Array], ArrayLike]
"""(tokens (n, s) with −1 behind each text, length (n,)) -> (n,) scores, higher ones better.

What else it knows it closes over.
"""
TIES = np.uint32(2**32 - 1)
"""The number folded into a prompt's key to decide between equal scores: no candidate has it."""


@records.record
class SearchResult:
    """The best texts of each prompt, the best first.

    Attributes:
        tokens: (b, k, n) ids, behind which −1 stands. A token that stopped its text is the last one.
        length: (b, k) how many there are.
        log_probs: (b, k, n) logarithm of each one's probability in the distribution that it was drawn from; 0 behind
            them.
        values: (b, k) the verifier's scores of the whole texts.
        finished: (b, k) whether a stop ended the text.
    """

    tokens: jax.Array
    length: jax.Array
    log_probs: jax.Array
    values: jax.Array
    finished: jax.Array


def lookahead_search(
    key: jax.Array,
    next_logits: Model,
    cache: Cache,
    prompt: Int[ArrayLike, "b p"],
    index: Integer[ArrayLike, "b"],
    value: Value,
    *,
    beams: int,
    expand: int,
    block: int,
    max_tokens: int,
    lookahead: int = 0,
    stop: Ids = (),
    processor: Processor | None = None,
    chunk: int = 64,
) -> SearchResult:
    """Search the texts after each prompt with a verifier's highest scores. Call it under `jit`.

    Each round draws `expand` continuations of `block` tokens from every beam, scores them, and keeps the best `beams`
    of all. With a look ahead a continuation is scored as the text that greedy decoding makes of it in so many further
    tokens, which are then forgotten. One beam and one block of `max_tokens` is best of n. The last round's scores are
    those of the texts themselves.

    Token j of candidate c is drawn from fold_in(fold_in(fold_in(key, index[i]), c), j), so other prompts do not enter.

    Args:
        key: one typed key.
        next_logits: the model.
        cache: of b texts, with room for p + max_tokens tokens, which can be reordered (not a paged one).
        prompt: (b, p) ids, behind which −1 may stand.
        index: (b,) integers 0 … 2**32 - 1 that name the prompts.
        value: the verifier.
        beams: how many texts are kept, and answered, >= 1.
        expand: how many continuations of each, >= 1.
        block: tokens of a continuation, >= 1; the last one may be shorter.
        max_tokens: the largest number of tokens, >= 1.
        lookahead: tokens by which a score looks ahead, >= 0, up to the end of the text.
        stop: (k,) ids after any of which a text ends.
        processor: (logits, context) -> logits.
        chunk: how many tokens of the prompts are read at once.

    Raises:
        TypeError: for a legacy or missing key, a paged cache, and ids that are no integers.
        ValueError: for a cache without room, numbers outside the ranges above, and a verifier that does not answer one
            score per text.

    References:
        Snell et al., 2024, section 5.1 and Figure 2: best-of-n, beam search and lookahead search (from memory).
    """
    keys, prompt, length = decoding.checked_texts(key, index, prompt)
    numbers = {"beams": beams, "expand": expand, "block": block, "max_tokens": max_tokens, "chunk": chunk}
    for name, number in numbers.items():
        checks.integer(name, number, 1)
    checks.integer("lookahead", lookahead, 0)
    decoding.check_room(cache, prompt.shape, max_tokens)
    b, each = prompt.shape[0], beams * expand
    ends, limit = decoding.checked_stop(stop, 1), jnp.full(b * each, max_tokens, jnp.int32)
    streams = _streams(keys, each)
    greedy = processors.chain(*(() if processor is None else (processor,)), processors.temperature(0.0))

    def grown(state: Running, number: int, rule: Processor | None) -> Running:
        def one(_: Array, held: Running) -> Running:
            return decoding.advance(streams.reshape(-1), next_logits, held, rule, limit, ends)

        after: Running = jax.lax.fori_loop(0, number, one, state)
        return after

    def scored(state: Running) -> Float[Array, "b c"]:
        ahead = grown(state, lookahead, greedy) if lookahead else state
        values = jnp.asarray(value(ahead.text, ahead.length))
        if values.shape != (b * each,):
            raise ValueError(f"value answers shape {values.shape} for {b * each} texts: ({b * each},) is needed")
        known = jnp.where(jnp.isnan(values), -jnp.inf, values)
        return known.astype(state.log_probs.dtype).reshape(b, each)

    def body(carry: tuple[Running, Array, Array]) -> tuple[Running, Array, Array]:
        state, _, number = carry
        candidates = _taken(state, jnp.repeat(jnp.arange(b * beams), expand))
        # of a text that no longer grows
        copies = (jnp.arange(each)[None] % expand > 0) & ~candidates.active.reshape(b, each)
        after = grown(candidates, block, processor)
        values = jnp.where(copies, -jnp.inf, scored(after))
        best = jnp.lexsort((-_ties(keys, number, each), -values), axis=1)[:, :beams]  # equal ones by chance
        chosen = (best + each * jnp.arange(b)[:, None]).reshape(-1)
        return _taken(after, chosen), jnp.take_along_axis(values, best, 1), number + 1

    read = decoding.prefilled(next_logits, cache, prompt, length, chunk)
    rows = jnp.repeat(jnp.arange(b), beams)
    read = read._replace(cache=read.cache.reordered(rows))
    first = decoding.started(read, prompt[rows], length[rows], limit[: b * beams], max_tokens)
    begin = (first, jnp.full((b, beams), -jnp.inf, first.log_probs.dtype), jnp.zeros((), jnp.int32))
    last, values, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[0].active), body, begin)
    tokens = decoding.generated_tokens(last, length[rows], max_tokens)
    parts = (
        leaf.reshape(b, beams, *leaf.shape[1:]) for leaf in (tokens, last.generated, last.log_probs, last.finished)
    )
    tokens, generated, log_probs, finished = parts
    return SearchResult(tokens, generated, log_probs, values, finished)


def _taken(state: Running, rows: Int[Array, " n"]) -> Running:
    """These texts (n,), which may come several times."""
    fields = (state.text, state.length, state.generated, state.active, state.log_probs, state.finished)
    return Running(state.cache.reordered(rows), *(values[rows] for values in fields))


def _streams(keys: Keys, number: int) -> Keys:
    """The keys of each prompt's candidates (b, number), whatever their number is."""
    return jax.vmap(lambda key: jax.vmap(lambda candidate: jax.random.fold_in(key, candidate))(jnp.arange(number)))(
        keys
    )


def _ties(keys: Keys, turn: Array, number: int) -> Float[Array, "b c"]:
    """Tie breakers of a round: a random number for each candidate."""
    turn_keys = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, TIES), turn))(keys)
    return jax.vmap(jax.vmap(jax.random.uniform))(_streams(turn_keys, number))
