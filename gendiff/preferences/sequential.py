"""Sequential revision: a policy revises its own answer, round after round. Also known as: self-refine."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.core import checks, records, sample_keys
from gendiff.core.types import ArrayLike, PyTree


@records.record
class Revisions:
    """The answers of every round; 0 is the first answer, before any revision.

    Attributes:
        answers: a tree of arrays (rounds + 1, b, …): what stood after each round.
        scores: (rounds + 1, b) of these, or None where nothing scores.
        accepted: (rounds, b) whether the round's revision took the place of what stood before.
    """

    answers: PyTree
    scores: jax.Array | None
    accepted: jax.Array


def revise(
    key: jax.Array,
    policy: Callable[[jax.Array, PyTree], PyTree],
    answer: PyTree,
    rounds: int,
    *,
    score: Callable[[PyTree], ArrayLike] | None = None,
) -> Revisions:
    """Revise answers, one round after the other.

    Round r has the key fold_in(key, r), so further rounds change none before them.

    Without a score every revision stands. With one a revision stands where it scores higher than what it revises; then
    scores never fall.

    Args:
        key: one typed key.
        policy: (key, answer) -> the revised answer, a tree like the one that it gets. What else it knows, such as the
            question, it closes over. It is traced once.
        answer: the first answers, a tree of arrays (b, …).
        rounds: how often, >= 0.
        score: answer -> (b,) floats, of which higher ones are better. NaN is never accepted.

    Raises:
        TypeError: for a legacy or missing key, and for a policy that answers another structure, shape or dtype.
        ValueError: for negative rounds, and for a score that is not one number per answer.

    References:
        Snell et al., 2024, section 6 (from memory).
    """
    sample_keys.check_key(key)
    checks.integer("rounds", rounds, 0)
    first = jax.tree.map(jnp.asarray, answer)
    b = jax.tree.leaves(first)[0].shape[0]

    def scored(candidate: PyTree) -> PyTree:
        if score is None:
            return None
        values = jnp.asarray(score(candidate))
        if values.shape != (b,):
            raise ValueError(f"score answers shape {values.shape} for {b} answers: ({b},) is needed")
        return jnp.where(jnp.isnan(values), -jnp.inf, values)

    def body(held: tuple[PyTree, PyTree], number: jax.Array) -> tuple[tuple[PyTree, PyTree], tuple[PyTree, ...]]:
        before, value = held
        revised = checked_revision(policy(jax.random.fold_in(key, number), before), before)
        after = scored(revised)
        better = jnp.ones(b, bool) if score is None else after > value
        current = jax.tree.map(
            lambda new, old: jnp.where(better.reshape(b, *(1,) * (new.ndim - 1)), new, old), revised, before
        )
        best = None if score is None else jnp.where(better, after, value)
        return (current, best), (current, best, better)

    start = (first, scored(first))
    _, (answers, scores, accepted) = jax.lax.scan(body, start, jnp.arange(rounds))
    history, all_scores = jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), start, (answers, scores))
    return Revisions(history, all_scores, accepted)


def checked_revision(revised: PyTree, before: PyTree) -> PyTree:
    """The revision, which must be a tree like what it revises."""
    result = jax.tree.map(jnp.asarray, revised)
    kinds = [jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree) for tree in (result, before)]
    if kinds[0] != kinds[1]:
        raise TypeError(
            f"the policy answers {kinds[0]} to {kinds[1]}: a revision has the structure, shapes and dtypes of the "
            "answer"
        )
    return result
