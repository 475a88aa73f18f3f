"""Speculative decoding: a draft guesses several tokens, and the model judges all of them in one call.

The text keeps its distribution.

Guess d, drawn from q, is accepted with probability min(1, p(d) / q(d)); at the first one that is not, the token is
drawn from max(p − q, 0), normalised; after all of them, one more from p. p and q are the distributions that are
sampled, after all processors. Where the guess follows from the text, each token is drawn as without guesses, and a
guess is right that is the same one: the same law, and the same text.

A call without a guess is one of a single token. When a text guesses is the policy's affair (`guess_policy`).
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, Count, DType, Keys, PyTree
from gendiff.language import decoding, drafts, guess_policy
from gendiff.language.cache import Cache
from gendiff.language.decoding import Running
from gendiff.language.next_logits import Model
from gendiff.language.processors import Context, Ids, Processor

T = TypeVar("T")

ACCEPTED, REPLACED = 2, 3
"""Numbers folded into a token's key to judge its guess, and to draw another one."""


@records.record
class Speculated:
    """Generated texts, and the calls that they took.

    Attributes:
        tokens: (b, n) ids, behind which −1 stands.
        length: (b,) how many there are.
        log_probs: (b, n) logarithm of each one's probability under the model, after processors; 0 behind them.
        finished: (b,) whether a stop ended the text.
        cache: with the prompt and all tokens but the last one.
        calls: (b,) how often the model was asked while the text went on.
        judged: (b,) how many of these calls judged guesses of the text.
        accepted: (b,) how many guesses it accepted, those behind a stop included.
        rejected: (b,) how many it rejected; guesses behind these were not judged.
    """

    tokens: jax.Array
    length: jax.Array
    log_probs: jax.Array
    finished: jax.Array
    cache: Cache
    calls: jax.Array
    judged: jax.Array
    accepted: jax.Array
    rejected: jax.Array


Progress = tuple[Running, PyTree, guess_policy.Pace, "Counts"]
"""The texts, the draft's state, how guesses fared, and the counts."""


@records.record
class Counts:
    """Calls of the model, those with guesses, and guesses accepted and rejected (b,)."""

    calls: jax.Array
    judged: jax.Array
    accepted: jax.Array
    rejected: jax.Array


def generate(
    key: jax.Array,
    next_logits: Model,
    cache: Cache,
    draft: drafts.Draft,
    prompt: Int[ArrayLike, "b p"],
    index: Integer[ArrayLike, "b"],
    *,
    max_tokens: int,
    gamma: int = 4,
    policy: guess_policy.GuessPolicy | None = None,
    processor: Processor | None = None,
    num_tokens: Count | np.ndarray | None = None,
    stop: Ids = (),
    chunk: int = 64,
) -> Speculated:
    """Generate a text after each prompt, as `language.generate` does, in fewer calls of the model.

    Every text is drawn from the model's own distribution, whatever the draft. Greedy texts are those of
    `language.generate`, token by token, and so are sampled ones by `prompt_lookup`; sampled by a model's guesses they
    are others of the same law, a function of (parameters, draft, policy, key, index, prompt).

    Args:
        key: one typed key.
        next_logits: the model.
        cache: of b texts, for p + max_tokens tokens more.
        draft: what guesses, such as `drafts.prompt_lookup()` or `drafts.model(…)`.
        prompt: (b, p) ids, behind which −1 may stand.
        index: (b,) integers that name the texts.
        max_tokens: the largest number of tokens to generate, ≥ 1.
        gamma: how many tokens are guessed at once, ≥ 1. A call that judges guesses has gamma + 1 tokens.
        policy: when texts guess, such as `guess_policy.policy(judging=1.2)` where a call with guesses costs as much as
            1.2 without. None: the draft's.
        processor: (logits, context) -> logits, for the model and the draft.
        num_tokens: () or (b,) how many tokens to generate at most, as data. None: max_tokens.
        stop: (k,) ids, or (b, k), after any of which a text ends.
        chunk: how many tokens of the prompts are read at once.

    Raises:
        TypeError: for a draft or policy that is none, and as `language.generate`.
        ValueError: for a cache that cannot take back gamma guesses, and as `language.generate`.

    References:
        Leviathan et al., 2023, Alg. 1 and Appendix A.1; Chen et al., 2023, Alg. 2 (from memory).
    """
    keys, prompt, length = decoding.checked_texts(key, index, prompt)
    for name, value in (("max_tokens", max_tokens), ("chunk", chunk), ("gamma", gamma)):
        checks.integer(name, value, 1)
    if not isinstance(draft, drafts.Draft):
        raise TypeError(
            f"draft must be one of language.drafts, such as drafts.prompt_lookup(), got {type(draft).__name__}"
        )
    policy = draft.policy() if policy is None else policy
    if not isinstance(policy, guess_policy.GuessPolicy):
        raise TypeError(f"policy must be such as guess_policy.policy() makes, got {type(policy).__name__}")
    decoding.check_room(cache, prompt.shape, max_tokens)
    drafts.check_reach(cache, gamma)
    limit = decoding.checked_number(num_tokens, max_tokens, prompt.shape[0])
    ends = decoding.checked_stop(stop, prompt.shape[0])

    def body(carry: Progress) -> Progress:
        state, held, pace, counts = carry
        allowed = guess_policy.allowed(policy, pace, state.generated, limit - state.generated - 1)
        allowed = jnp.where(state.active, allowed, 0)
        context = Context(state.text, state.length, state.generated)
        proposal = draft.propose(keys, held, context, allowed, gamma, processor)
        guesses, guessed = proposal.tokens, allowed
        if proposal.probs is None:  # else the number would depend on what was drawn
            guessed = jnp.sum(guesses >= 0, 1, dtype=jnp.int32)
            guessed = jnp.where(guessed >= guess_policy.fewest(policy), guessed, 0)
            guesses = jnp.where(guessed[:, None] > 0, guesses, -1)

        def judged(number: int, before: tuple[Running, Counts]) -> tuple[Running, Counts]:
            probs = None if proposal.probs is None else proposal.probs[:, :number]
            some = drafts.Proposal(guesses[:, :number], probs, ())
            return advance(keys, next_logits, before[0], some, processor, limit, ends)

        step = _once(~jnp.any(guessed > 0), lambda before: judged(0, before), (state, none))
        after, fresh = _once(jnp.any(guessed > 0), lambda before: judged(gamma, before), step)
        pace = guess_policy.updated(policy, pace, guessed, fresh.accepted, after.generated, gamma)
        return after, draft.rewound(proposal.state, after.length - 1), pace, jax.tree.map(jnp.add, counts, fresh)

    read = decoding.prefilled(next_logits, cache, prompt, length, chunk)
    first = decoding.started(read, prompt, length, limit, max_tokens, spare=gamma + 1)
    none = Counts(*[jnp.zeros_like(length)] * 4)
    pace = guess_policy.started(policy, length.shape[0], gamma)
    begin = (first, draft.start(prompt, length, chunk, gamma), pace, none)
    last, _, _, counts = jax.lax.while_loop(lambda carry: jnp.any(carry[0].active), body, begin)
    tokens = decoding.generated_tokens(last, length, max_tokens)
    result = (tokens, last.generated, last.log_probs, last.finished, last.cache)
    return Speculated(*result, counts.calls, counts.judged, counts.accepted, counts.rejected)


def _once(condition: Array, step: Callable[[T], T], before: T) -> T:
    """`step` where the condition holds. `cond` would copy the cache, which a loop writes in place."""
    result = jax.lax.while_loop(lambda each: each[0], lambda each: (~each[0], step(each[1])), (condition, before))
    return result[1]


def advance(
    keys: Keys,
    next_logits: Model,
    state: Running,
    proposal: drafts.Proposal,
    processor: Processor | None,
    limit: Array,
    ends: Array,
) -> tuple[Running, Counts]:
    """Lengthen every active text by its accepted guesses and one token more."""
    drafted = proposal.tokens
    logits, cache = _draft_logits(next_logits, state, drafted)
    final = _processed(processor, logits, state, drafted)
    if proposal.probs is None:
        count, fresh = _drawn(keys, state, drafted, final)
    else:
        count, fresh = _corrected(keys, state, drafted, proposal.probs, jax.nn.softmax(final, 2))
    log_probs = jnp.take_along_axis(jax.nn.log_softmax(final, 2), fresh[..., None], 2)[..., 0]
    possible = jnp.arange(drafted.shape[1] + 1, dtype=jnp.int32)[None] <= count[:, None]
    guessed = jnp.sum(drafted >= 0, 1)
    judged = Counts(
        *(jnp.where(state.active, each, 0).astype(jnp.int32) for each in (1, guessed > 0, count, count < guessed))
    )
    return _written(state, cache, fresh, log_probs, possible, limit, ends), judged


def _drawn(
    keys: Keys, state: Running, drafted: Int[Array, "b n"], final: Float[Array, "b m v"]
) -> tuple[Int[Array, " b"], Int[Array, "b m"]]:
    """How many guesses are the tokens that `language.generate` draws, and these with the one behind them."""
    expected = jnp.pad(drafted, ((0, 0), (0, 1)), constant_values=-1)

    def draw(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, right, fresh = carry
        token, _ = decoding.draw(decoding.folded(keys, state.generated + i), final[:, i])
        return i + 1, right & (token == expected[:, i]), fresh.at[:, i].set(jnp.where(right, token, 0))

    start = (jnp.int32(0), state.active, jnp.zeros_like(expected))
    _, _, fresh = jax.lax.while_loop(lambda carry: jnp.any(carry[1]), draw, start)
    return jnp.sum(jnp.cumprod(fresh[:, :-1] == drafted, axis=1), 1, dtype=jnp.int32), fresh


def _corrected(
    keys: Keys, state: Running, drafted: Int[Array, "b n"], guesses: Float[Array, "b n v"], probs: Float[Array, "b m v"]
) -> tuple[Int[Array, " b"], Int[Array, "b m"]]:
    """How many guesses are accepted, and these with the token drawn behind them."""
    number = drafted.shape[1]
    ahead = jnp.arange(number + 1, dtype=jnp.int32)
    at = jnp.maximum(drafted, 0)[..., None]
    p, q = (jnp.take_along_axis(values, at, 2)[..., 0] for values in (probs[:, :number], guesses))
    uniform = [_uniform(drafts.fold(keys, state.generated + i, ACCEPTED), p.dtype) for i in range(number)]
    right = (drafted >= 0) & accepts(jnp.stack(uniform, 1), p, q) if number else drafted >= 0
    count = jnp.sum(jnp.cumprod(right, axis=1), 1, dtype=jnp.int32)
    guesses, drafted = jnp.pad(guesses, ((0, 0), (0, 1), (0, 0))), jnp.pad(drafted, ((0, 0), (0, 1)))  # none behind
    p_next, q_next = (jnp.take_along_axis(values, count[:, None, None], 1)[:, 0] for values in (probs, guesses))
    other, _ = decoding.draw(drafts.fold(keys, state.generated + count, REPLACED), jnp.log(residual(p_next, q_next)))
    return count, jnp.where(ahead[None] < count[:, None], drafted, other[:, None])


def accepts(uniform: Float[Array, "b n"], p: Float[Array, "b n"], q: Float[Array, "b n"]) -> Bool[Array, "b n"]:
    """Whether guesses are accepted, with probability min(1, p / q), by numbers that are uniform in [0, 1)."""
    return uniform * q < p


def residual(p: Float[Array, "b v"], q: Float[Array, "b v"]) -> Float[Array, "b v"]:
    """The distribution of a token after a rejected guess, not normalised: max(p − q, 0).

    It is p where there was no guess (q = 0), and where rounding has left nothing, which exact numbers never do.
    """
    left = jnp.maximum(p - q, 0)
    return jnp.where(jnp.sum(left, 1, keepdims=True) > 0, left, p)


def _draft_logits(next_logits: Model, state: Running, drafted: Int[Array, "b n"]) -> tuple[Array, Cache]:
    """Logits (b, n + 1, v) after the last token and after each guess."""
    last = jnp.take_along_axis(state.text, jnp.maximum(state.length - 1, 0)[:, None], 1)
    tokens = jnp.where(state.active[:, None], jnp.concatenate([last, drafted], 1), -1)
    return next_logits(tokens, state.cache, True)


def _processed(
    processor: Processor | None, logits: Array, state: Running, drafted: Int[Array, "b n"]
) -> Float[Array, "b m v"]:
    """Each of the logits with the text that stands before it."""
    ahead = jnp.arange(drafted.shape[1], dtype=jnp.int32)[None]
    rows = jnp.arange(drafted.shape[0])[:, None]
    text = state.text.at[rows, state.length[:, None] + ahead].set(drafted, mode="drop")
    places = jnp.arange(text.shape[1], dtype=jnp.int32)[None]

    def one(logits: Array, i: Array) -> Array:
        held = jnp.where(places < (state.length + i)[:, None], text, -1)
        return decoding.processed(processor, logits, Context(held, state.length + i, state.generated + i))

    return jax.vmap(one, (1, 0), 1)(logits, jnp.arange(logits.shape[1], dtype=jnp.int32))


def _written(
    state: Running, cache: Cache, fresh: Array, log_probs: Array, possible: Array, limit: Array, ends: Array
) -> Running:
    """The texts with new tokens (b, m), as far as they are possible (b, m), within the limit, and not behind a stop."""
    ahead = jnp.arange(fresh.shape[1], dtype=jnp.int32)[None]
    stops = jnp.any(fresh[..., None] == ends[:, None], 2)
    before = jnp.cumsum(stops, 1) - stops
    usable = jnp.cumprod(jnp.isfinite(log_probs) | ~possible, axis=1) > 0
    accepted = possible & usable & (before == 0) & (ahead < (limit - state.generated)[:, None]) & state.active[:, None]
    count = jnp.sum(accepted, 1, dtype=jnp.int32)
    rows = jnp.arange(fresh.shape[0])[:, None]
    at = jnp.where(accepted, state.length[:, None] + ahead, state.text.shape[1])
    text = state.text.at[rows, at].set(fresh, mode="drop")
    at = jnp.where(accepted, state.generated[:, None] + ahead, state.log_probs.shape[1])
    logs = state.log_probs.at[rows, at].set(log_probs, mode="drop")
    stopped = jnp.any(accepted & stops, 1)
    length, generated = state.length + count, state.generated + count
    active = state.active & ~stopped & (generated < limit) & jnp.all(usable, 1)
    held = cache.rewound(state.cache.length + count)
    return Running(held, text, length, generated, active, logs, state.finished | stopped)


def _uniform(keys: Keys, dtype: DType) -> Float[Array, " b"]:
    return jax.vmap(lambda key: jax.random.uniform(key, (), dtype))(keys)
