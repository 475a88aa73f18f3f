"""Drafts: cheap guesses of the next tokens, which `speculative` verifies all at once."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from gendiff.core import arrays, checks, records
from gendiff.core.types import Count, Keys, PyTree, Scalar
from gendiff.language import decoding, guess_policy
from gendiff.language.cache import Cache
from gendiff.language.next_logits import Model
from gendiff.language.processors import Context, Processor

DRAWN = 1
"""The number folded into a token's key for its guess."""


Allowed = Int[Array, " b"]
"""How many tokens each text may guess."""


class Proposal(NamedTuple):
    """Guesses of the next tokens.

    Attributes:
        tokens: (b, n) ids, behind which −1 stands for no guess.
        probs: (b, n, v) the distributions that they were drawn from, 0 for no guess. None: they follow from the text.
        state: of the draft.
    """

    tokens: jax.Array
    probs: jax.Array | None
    state: PyTree


class Draft(abc.ABC):
    """A draft is a record; what it remembers of the texts is its state."""

    def start(self, prompt: Int[Array, "b p"], length: Int[Array, " b"], chunk: int, number: int) -> PyTree:
        """The state after the prompts, as `generate` has them. It will be asked for `number` guesses at once."""
        return ()

    def policy(self) -> guess_policy.GuessPolicy:
        """When texts guess, where `generate` is not told."""
        return guess_policy.policy()

    @abc.abstractmethod
    def propose(
        self, keys: Keys, state: PyTree, context: Context, allowed: Allowed, number: int, processor: Processor | None
    ) -> Proposal:
        """Guess the next `number` tokens of each text, or fewer.

        Args:
            keys: (b,) of the texts.
            state: of the draft.
            context: the texts so far, with at least `number` places behind each.
            allowed: (b,) how many tokens of each text may be guessed; 0 for one that has ended or pauses.
            number: how many at most.
            processor: what the target's distribution goes through; the draft's must go through it too, or acceptance
                suffers.
        """

    def rewound(self, state: PyTree, length: Int[Array, " b"]) -> PyTree:
        """The state when no more than so many tokens (b,) of each text hold."""
        return state


@records.record
class ModelDraft(Draft):
    """A smaller model guesses. Built by `model`."""

    next_logits: Model
    cache: Cache
    cost: Scalar

    def policy(self) -> guess_policy.GuessPolicy:
        """As many guesses as pay, at the cost of each. Some may fail, as they are drawn."""
        return guess_policy.policy(drafting=self.cost, patience=4.0)

    def start(self, prompt: Int[Array, "b p"], length: Int[Array, " b"], chunk: int, number: int) -> PyTree:
        """The cache with the prompts but for their last tokens."""
        check_reach(self.cache, number)
        return decoding.prefilled(self.next_logits, self.cache, prompt, length, chunk).cache

    def propose(
        self, keys: Keys, state: PyTree, context: Context, allowed: Allowed, number: int, processor: Processor | None
    ) -> Proposal:
        """Draw one token after the other, as many as the text that may guess most."""

        def unread(cache: Cache, text: Array, until: Array, most: int) -> Array:
            places = cache.length[:, None] + jnp.arange(most, dtype=jnp.int32)[None]
            tokens = jnp.take_along_axis(text, jnp.minimum(places, text.shape[1] - 1), 1)
            return jnp.where(places < until[:, None], tokens, -1)

        def guess(carry: tuple[Array, Cache, Array, Array, Array]) -> tuple[Array, Cache, Array, Array, Array]:
            step, cache, text, guesses, probs = carry
            length = context.length + step
            alive = (step < allowed) & ((step == 0) | (guesses[:, step - 1] >= 0))
            # after a call in which all guesses were accepted the cache is two tokens behind, else one
            logits, cache = self.next_logits(unread(cache, text, jnp.where(alive, length, 0), 2), cache)
            final = decoding.processed(processor, logits, Context(text, length, context.generated + step))
            token, log_prob = decoding.draw(fold(keys, context.generated + step, DRAWN), final)
            alive = alive & jnp.isfinite(log_prob)
            token = jnp.where(alive, token, -1)
            rows = jnp.arange(token.shape[0])
            text = text.at[rows, jnp.where(alive, length, text.shape[1])].set(token, mode="drop")
            probs = probs.at[:, step].set(jnp.where(alive[:, None], jax.nn.softmax(final, 1), 0))
            return step + 1, cache, text, guesses.at[:, step].set(token), probs

        # a text that has paused is further behind
        until = jnp.where(allowed > 0, context.length - 2, 0)
        cache = jax.lax.while_loop(
            lambda cache: jnp.any(cache.length < until),
            lambda cache: self.next_logits(unread(cache, context.tokens, until, number + 1), cache)[1],
            state,
        )
        shape = jax.eval_shape(lambda: self.next_logits(context.tokens[:, :2], cache)[0])
        guesses = jnp.full((*allowed.shape, number), -1, jnp.int32)
        probs = jnp.zeros((shape.shape[0], number, shape.shape[1]), arrays.at_least_float32(shape.dtype))
        start = (jnp.int32(0), cache, context.tokens, guesses, probs)
        _, cache, _, guesses, probs = jax.lax.while_loop(lambda carry: carry[0] < jnp.max(allowed), guess, start)
        return Proposal(guesses, probs, cache)

    def rewound(self, state: PyTree, length: Int[Array, " b"]) -> PyTree:
        """The cache, with tokens that do not hold taken back."""
        return state.rewound(jnp.minimum(state.length, length))


def model(next_logits: Model, cache: Cache, cost: Scalar = 0.2) -> ModelDraft:
    """A smaller model with the same vocabulary guesses.

    A model that leaves early is `model(from_network(networks.pure(network.clone(depth=k)), params), cache)`: the first
    k blocks and the last layers of the same parameters.

    Args:
        next_logits: the model, such as `from_network` makes.
        cache: its own, of as many texts.
        cost: of a guess, in steps of the model that judges it, ≥ 0: about the share of its parameters. Fewer tokens are
            guessed where fewer are accepted, and none for a while where they do not pay.

    Raises:
        ValueError: for a negative cost.

    References:
        Leviathan et al., 2023, Alg. 1; Schuster et al., 2022, for leaving early (from memory).
    """
    checks.in_range("cost", cost, 0.0, float("inf"), open_high=True)
    return ModelDraft(next_logits, cache, cost)


@records.record
class PromptLookup(Draft):
    """The tokens that followed the last ones before follow them again. Built by `prompt_lookup`."""

    longest: int = records.static()
    least: Count

    def propose(
        self, keys: Keys, state: PyTree, context: Context, allowed: Allowed, number: int, processor: Processor | None
    ) -> Proposal:
        """Copy what stands behind the latest earlier occurrence."""
        text, length = context.tokens, context.length
        places = jnp.arange(text.shape[1], dtype=jnp.int32)[None]
        matches = (places < length[:, None] - 1) & (allowed > 0)[:, None]  # ends of earlier n-grams
        match = jnp.full_like(length, -1)
        for n in range(1, self.longest + 1):
            last = jnp.take_along_axis(text, jnp.maximum(length - n, 0)[:, None], 1)
            earlier = jnp.pad(text, ((0, 0), (n - 1, 0)), constant_values=-2)[:, : text.shape[1]]
            matches = matches & (earlier == last)
            latest = jnp.max(jnp.where(matches, places, -1), 1)
            match = jnp.where((latest >= 0) & (n >= self.least), latest, match)  # a longer n-gram is the better one
        ahead = jnp.arange(number, dtype=jnp.int32)[None]
        behind = match[:, None] + 1 + ahead
        known = (match >= 0)[:, None] & (behind < length[:, None]) & (ahead < allowed[:, None])
        tokens = jnp.take_along_axis(text, jnp.minimum(behind, text.shape[1] - 1), 1)
        return Proposal(jnp.where(known, tokens, -1), None, ())


def prompt_lookup(longest: int = 3, least: Count | None = None) -> PromptLookup:
    """Guess that the tokens that followed the last ones earlier in the text, its prompt included, follow them again.

    Also known as: prompt lookup decoding, n-gram speculation.

    It costs nothing. The longest n-gram that occurs earlier decides, and of its occurrences the latest. Where none
    does, there is no guess.

    Args:
        longest: the most tokens that are compared, ≥ 1.
        least: the fewest that must agree, 1 … longest, as data. None: `longest`, but 3 at most. Shorter matches are
            mostly chance where a text does not repeat itself.

    Raises:
        TypeError: for numbers that are no integers.
        ValueError: for numbers outside these ranges.

    References:
        Saxena, 2023 (from memory).
    """
    checks.integer("longest", longest, 1)
    if least is not None:
        checks.integer("least", least, 1, longest)
    return PromptLookup(longest, min(longest, 3) if least is None else least)


def fold(keys: Keys, numbers: Int[Array, " b"], part: int) -> Keys:
    """The keys of one part of the draw of each text's token `numbers` (b,)."""
    return jax.vmap(lambda key, number: jax.random.fold_in(jax.random.fold_in(key, number), part))(keys, numbers)


def check_reach(cache: Cache, number: int) -> None:
    """ValueError for a cache that cannot take back what was guessed."""
    if cache.reach is not None and number + 1 > cache.reach:
        raise ValueError(
            f"gamma = {number} needs a cache that takes {number + 1} tokens at once; this one takes {cache.reach} "
            "(slack + 1)"
        )
