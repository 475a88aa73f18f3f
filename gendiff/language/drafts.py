"""Drafts: cheap guesses of the next tokens, which `speculative` verifies all at once."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from gendiff.core import checks, records
from gendiff.core.types import Keys, PyTree
from gendiff.language import decoding
from gendiff.language.cache import Cache
from gendiff.language.next_logits import Model
from gendiff.language.processors import Context, Processor

DRAWN = 1
"""The number folded into a token's key for its guess."""


Active = Bool[Array, " b"]
"""The texts that go on."""


class Proposal(NamedTuple):
    """Guesses of the next tokens.

    Attributes:
        tokens: (b, n) ids, behind which −1 stands for no guess.
        probs: (b, n, v) the distributions that they were drawn from, 0 for no guess. None: they were not drawn, but are
            certain.
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

    @abc.abstractmethod
    def propose(
        self, keys: Keys, state: PyTree, context: Context, active: Active, number: int, processor: Processor | None
    ) -> Proposal:
        """Guess the next `number` tokens of the active texts.

        Args:
            keys: (b,) of the texts.
            state: of the draft.
            context: the texts so far, with at least `number` places behind each.
            active: (b,) texts that go on.
            number: how many.
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

    def start(self, prompt: Int[Array, "b p"], length: Int[Array, " b"], chunk: int, number: int) -> PyTree:
        """The cache with the prompts but for their last tokens."""
        check_reach(self.cache, number)
        return decoding.prefilled(self.next_logits, self.cache, prompt, length, chunk).cache

    def propose(
        self, keys: Keys, state: PyTree, context: Context, active: Active, number: int, processor: Processor | None
    ) -> Proposal:
        """Draw one token after the other."""

        def guess(
            carry: tuple[Cache, Array, Array], step: Array
        ) -> tuple[tuple[Cache, Array, Array], tuple[Array, Array]]:
            cache, text, alive = carry
            # after a call in which all guesses were accepted the cache is two tokens behind, else one
            places = cache.length[:, None] + jnp.arange(2, dtype=jnp.int32)[None]
            held = (places < (context.length + step)[:, None]) & alive[:, None]
            tokens = jnp.where(held, jnp.take_along_axis(text, jnp.minimum(places, text.shape[1] - 1), 1), -1)
            logits, cache = self.next_logits(tokens, cache)
            so_far = Context(text, context.length + step, context.generated + step)
            final = decoding.processed(processor, logits, so_far)
            token, log_prob = decoding.draw(fold(keys, so_far.generated, DRAWN), final)
            alive = alive & jnp.isfinite(log_prob)
            token = jnp.where(alive, token, -1)
            rows = jnp.arange(token.shape[0])
            text = text.at[rows, jnp.where(alive, so_far.length, text.shape[1])].set(token, mode="drop")
            return (cache, text, alive), (token, jnp.where(alive[:, None], jax.nn.softmax(final, 1), 0))

        steps = jnp.arange(number, dtype=jnp.int32)
        (cache, _, _), (tokens, probs) = jax.lax.scan(guess, (state, context.tokens, active), steps)
        return Proposal(tokens.swapaxes(0, 1), probs.swapaxes(0, 1), cache)

    def rewound(self, state: PyTree, length: Int[Array, " b"]) -> PyTree:
        """The cache, with tokens that do not hold taken back."""
        return state.rewound(jnp.minimum(state.length, length))


def model(next_logits: Model, cache: Cache) -> ModelDraft:
    """A smaller model with the same vocabulary guesses.

    A model that leaves early is `model(from_network(networks.pure(network.clone(depth=k)), params), cache)`: the first
    k blocks and the last layers of the same parameters.

    Args:
        next_logits: the model, such as `from_network` makes.
        cache: its own, of as many texts.

    References:
        Leviathan et al., 2023, Alg. 1; Schuster et al., 2022, for leaving early (from memory).
    """
    return ModelDraft(next_logits, cache)


@records.record
class PromptLookup(Draft):
    """The tokens that followed the last ones before follow them again. Built by `prompt_lookup`."""

    longest: int = records.static()

    def propose(
        self, keys: Keys, state: PyTree, context: Context, active: Active, number: int, processor: Processor | None
    ) -> Proposal:
        """Copy what stands behind the latest earlier occurrence."""
        text, length = context.tokens, context.length
        places = jnp.arange(text.shape[1], dtype=jnp.int32)[None]
        matches = (places < length[:, None] - 1) & active[:, None]  # ends of earlier n-grams
        match = jnp.full_like(length, -1)
        for n in range(1, self.longest + 1):
            last = jnp.take_along_axis(text, jnp.maximum(length - n, 0)[:, None], 1)
            earlier = jnp.pad(text, ((0, 0), (n - 1, 0)), constant_values=-2)[:, : text.shape[1]]
            matches = matches & (earlier == last)
            latest = jnp.max(jnp.where(matches, places, -1), 1)
            match = jnp.where(latest >= 0, latest, match)  # a longer n-gram is the better one
        behind = match[:, None] + 1 + jnp.arange(number, dtype=jnp.int32)[None]
        known = (match >= 0)[:, None] & (behind < length[:, None])
        tokens = jnp.take_along_axis(text, jnp.minimum(behind, text.shape[1] - 1), 1)
        return Proposal(jnp.where(known, tokens, -1), None, ())


def prompt_lookup(longest: int = 3) -> PromptLookup:
    """Guess that the tokens that followed the last ones earlier in the text, its prompt included, follow them again.

    Also known as: prompt lookup decoding, n-gram speculation.

    It costs nothing.

    The longest n-gram that occurs earlier decides, and of its occurrences the latest. Where none does, there is no
    guess.

    Args:
        longest: the most tokens that are compared, ≥ 1.

    Raises:
        ValueError: for less.

    References:
        Saxena, 2023 (from memory).
    """
    checks.integer("longest", longest, 1)
    return PromptLookup(longest)


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
