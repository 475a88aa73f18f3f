"""Critique and revision by principles: a policy writes its own data for fine-tuning, as in Constitutional AI.

Nothing is assumed of the policy. Whether it can criticise at all is for the user to measure.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer

from gendiff.core import checks, records, sample_keys
from gendiff.core.types import ArrayLike, PyTree
from gendiff.preferences import sequential

ORDER = np.uint32(2**32 - 1)
"""The number folded into the key for the order of principles; no round has it."""


@records.record
class RevisionPolicy:
    """The functions that answer, criticise and revise, of arrays with b rows; one network may be all three.

    Attributes:
        answer: (key, prompt, index) -> drafts. None where drafts are given.
        critique: (key, prompt, draft, principle, index) -> critiques.
        revise: (key, prompt, draft, critique, principle, index) -> the next drafts, of the structure, shapes and dtypes
            of these.
    """

    answer: Callable[..., PyTree] | None = None
    critique: Callable[..., PyTree] | None = None
    revise: Callable[..., PyTree] | None = None


@records.record
class Revised:
    """The drafts and critiques of all rounds.

    Attributes:
        drafts: a tree of arrays (rounds + 1, b, …), the first draft in front.
        critiques: a tree of arrays (rounds, b, …): each of the draft before its round.
        principle: (rounds, b) int32 number of the principle of each round.
    """

    drafts: PyTree
    critiques: PyTree
    principle: jax.Array

    @property
    def first(self) -> PyTree:
        """The drafts (b, …) before any revision."""
        return jax.tree.map(lambda leaf: leaf[0], self.drafts)

    @property
    def last(self) -> PyTree:
        """The drafts (b, …) after all rounds, on which a policy is tuned."""
        return jax.tree.map(lambda leaf: leaf[-1], self.drafts)


def critique_and_revise(
    key: jax.Array,
    policy: RevisionPolicy,
    principles: PyTree,
    prompt: PyTree,
    index: Integer[ArrayLike, "b"],
    *,
    rounds: int,
    draft: PyTree = None,
) -> Revised:
    """Let a policy answer, then criticise and revise its answers by one principle per round (Constitutional AI).

    Each sample goes through the principles in a random order of its own, all of them before any comes again. (Bai et
    al. draw a principle anew in each round.) The order of sample i is a function of (key, index[i]), and so is all else
    if the policy's draws are functions of (key, index), as those of `language.generate` are. Further rounds change none
    before them. The rounds are a scan, so that the policy is traced once.

    Args:
        key: one typed key. The draft has fold_in(key, 0), the critique of round r fold_in(key, 2r + 1), its revision
            fold_in(key, 2r + 2).
        policy: who acts.
        principles: a tree of arrays (p, …), such as ids of tokens (p, s) or `jnp.arange(p)`. The policy gets the rows
            (b, …) of a round.
        prompt: what is asked, a tree of arrays (b, …).
        index: (b,) integers 0 … 2**32 - 1 that name the samples.
        rounds: how many, at least 1.
        draft: the first drafts, a tree of arrays (b, …). None: policy.answer writes them.

    Raises:
        TypeError: for a legacy or missing key, and a revision that is not like its draft.
        ValueError: for rounds below 1, principles that are none or of different numbers, and a policy that lacks what
            is needed.

    References:
        Bai et al., 2022, "Constitutional AI", section 3.1 (from memory).
    """
    checks.integer("rounds", rounds, 1)
    count = _count(principles)
    answer, criticise, revise = policy.answer, policy.critique, policy.revise
    if criticise is None or revise is None or (draft is None and answer is None):
        raise ValueError("policy lacks a function: critique and revise are needed, and answer unless draft is given")
    order = _order(sample_keys.keys_of(jax.random.fold_in(key, ORDER), index), count, rounds)
    written = answer(jax.random.fold_in(key, 0), prompt, index) if draft is None and answer is not None else draft
    first = jax.tree.map(jnp.asarray, written)
    of_principles = jax.tree.map(jnp.asarray, principles)

    def one_round(before: PyTree, turn: tuple[jax.Array, jax.Array]) -> tuple[PyTree, tuple[PyTree, PyTree]]:
        number, chosen = turn
        principle = jax.tree.map(lambda leaf: leaf[chosen], of_principles)
        keys = [jax.random.fold_in(key, 2 * number + part) for part in (1, 2)]
        critique = criticise(keys[0], prompt, before, principle, index)
        after = sequential.checked_revision(revise(keys[1], prompt, before, critique, principle, index), before)
        return after, (after, critique)

    _, (later, critiques) = jax.lax.scan(one_round, first, (jnp.arange(rounds, dtype=jnp.uint32), order))
    drafts = jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), first, later)
    return Revised(drafts, critiques, order)


def _order(keys: jax.Array, count: int, rounds: int) -> Integer[Array, "rounds b"]:
    """The principle of each round for each sample, as int32."""

    def of_sample(key: jax.Array) -> jax.Array:
        turns = range(-(-rounds // count))
        return jnp.concatenate([jax.random.permutation(jax.random.fold_in(key, turn), count) for turn in turns])[
            :rounds
        ]

    return jax.vmap(of_sample, out_axes=1)(keys).astype(jnp.int32)


def _count(principles: PyTree) -> int:
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(principles)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"principles has arrays of {sorted(counts) or 'no'} rows: one row per principle is needed, in every array"
        )
    return int(counts.pop())
