"""Continuous batching: more prompts than the batch has slots, inside one compiled loop."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Integer

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count
from gendiff.language import decoding
from gendiff.language.cache import Cache
from gendiff.language.decoding import Running
from gendiff.language.next_logits import Model
from gendiff.language.processors import Ids, Processor


@records.record
class Served:
    """Generated texts, one for each of n prompts.

    Attributes:
        tokens: (n, m) ids, behind which −1 stands.
        length: (n,) how many there are.
        log_probs: (n, m) logarithm of each one's probability; 0 behind them.
        finished: (n,) whether a stop ended the text.
        calls: () how many steps the batch took.
    """

    tokens: jax.Array
    length: jax.Array
    log_probs: jax.Array
    finished: jax.Array
    calls: jax.Array


@records.record
class Queue:
    """The prompts that wait.

    Attributes:
        request: (b,) which prompt each slot works on; n for none.
        next: () the first that waits.
    """

    request: jax.Array
    next: jax.Array


def serve(
    key: jax.Array,
    next_logits: Model,
    cache: Cache,
    prompts: Int[ArrayLike, "n p"],
    index: Integer[ArrayLike, "n"],
    *,
    max_tokens: int,
    processor: Processor | None = None,
    num_tokens: Count | np.ndarray | None = None,
    stop: Ids = (),
    chunk: int = 64,
) -> Served:
    """Generate a text after each prompt, by continuous batching: as many at a time as the cache has texts.

    When a text ends, the next prompt takes its row. Each text is what `generate` makes of its prompt alone. The numbers
    of the processor are () here, the same for all texts.

    Args:
        key: one typed key.
        next_logits: the model.
        cache: of b texts, empty. Of a paged one, a text for which no page is left ends without having finished.
        prompts: (n, p) ids, behind which −1 may stand; of none there are no texts.
        index: (n,) integers that name the texts.
        max_tokens: the largest number of tokens to generate, ≥ 1.
        processor: (logits, context) -> logits.
        num_tokens: () or (n,) how many tokens to generate at most. None: max_tokens.
        stop: (k,) ids, or (n, k), after any of which a text ends.
        chunk: how many tokens of a prompt are read at once.

    Raises:
        TypeError: as `generate`.
        ValueError: as `generate`.

    References:
        Yu et al., 2022, section 3 (from memory).
    """
    keys, prompts, lengths = decoding.checked_texts(key, index, prompts)
    n, width = prompts.shape
    checks.integer("max_tokens", max_tokens, 1)
    checks.integer("chunk", chunk, 1)
    slots = cache.length.shape[0]
    checks.integer("slots (texts of the cache)", slots, 1)
    decoding.check_room(cache, (slots, width), max_tokens)
    limit = decoding.checked_number(num_tokens, max_tokens, n)
    ends = decoding.checked_stop(stop, n)

    def refill(carry: tuple[Running, Queue]) -> tuple[Running, Queue]:
        state, queue = carry
        slot = jnp.argmin(state.active)
        prompt, length = (jax.lax.dynamic_slice_in_dim(values, queue.next, 1, 0) for values in (prompts, lengths))
        read = decoding.prefilled(next_logits, state.cache.row(slot).cleared(), prompt, length, chunk)
        new = decoding.started(read, prompt, length, limit[queue.next][None], max_tokens)
        held = state.cache.with_row(slot, read.cache)
        others = jax.tree.map(
            lambda old, row: old.at[slot].set(row[0]), records.replace(state, cache=()), records.replace(new, cache=())
        )
        return records.replace(others, cache=held), Queue(queue.request.at[slot].set(queue.next), queue.next + 1)

    def body(carry: tuple[Running, Queue, Served]) -> tuple[Running, Queue, Served]:
        state, queue, served = carry
        waiting = lambda carry: ~jnp.all(carry[0].active) & (carry[1].next < n)  # noqa: E731
        state, queue = jax.lax.while_loop(waiting, refill, (state, queue))
        which = jnp.minimum(queue.request, n - 1)
        after = decoding.advance(keys[which], next_logits, state, processor, limit[which], ends[which])
        return after, queue, _recorded(served, queue.request, state, after)

    idle = jnp.zeros(slots, jnp.int32)
    empty = jnp.full((slots, width), -1, jnp.int32)
    dtype = arrays.at_least_float32(jax.eval_shape(next_logits, empty[:, :1], cache)[0].dtype)
    state = decoding.started(decoding.Read(cache, dtype), empty, idle, idle, max_tokens)
    tokens = jnp.full((n, max_tokens), -1, jnp.int32)
    none = jnp.zeros(n, jnp.int32)
    served = Served(tokens, none, jnp.zeros(tokens.shape, state.log_probs.dtype), none > 0, jnp.zeros((), jnp.int32))
    if n == 0:  # a loop over no prompts could not even be traced: it takes one of them
        return served
    queue = Queue(jnp.full(slots, n, jnp.int32), jnp.zeros((), jnp.int32))
    going = lambda carry: jnp.any(carry[0].active) | (carry[1].next < n)  # noqa: E731
    return jax.lax.while_loop(going, body, (state, queue, served))[2]


def _recorded(served: Served, request: Int[Array, " b"], state: Running, after: Running) -> Served:
    """The generated texts so far, with the tokens of a step."""
    grown = after.generated > state.generated
    row = jnp.where(grown, request, served.tokens.shape[0])
    rows = jnp.arange(row.shape[0])
    token = after.text[rows, jnp.maximum(after.length - 1, 0)]
    log_prob = after.log_probs[rows, jnp.minimum(state.generated, served.tokens.shape[1] - 1)]
    return Served(
        served.tokens.at[row, state.generated].set(token, mode="drop"),
        served.length.at[row].set(after.generated, mode="drop"),
        served.log_probs.at[row, state.generated].set(log_prob, mode="drop"),
        served.finished.at[row].set(after.finished, mode="drop"),
        served.calls + 1,
    )
