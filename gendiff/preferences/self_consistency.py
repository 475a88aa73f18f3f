"""Self-consistency: the answer that most candidates give, or that has the largest sum of a verifier's weights."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike
from gendiff.preferences.best_of_n import best_of_n

NO_ANSWER = -1
"""The id of a candidate from which no answer could be read; it has no vote."""


def majority(key: jax.Array, answers: Int[ArrayLike, "b n"]) -> Int[Array, " b"]:
    """Return the answer that most candidates of each row give; equally frequent ones are equally likely.

    Also known as: self-consistency, majority vote, maj@n.

    Args:
        key: one typed key, which decides between answers with equally many votes.
        answers: (b, n) ids of n answers per row, from 0 on; NO_ANSWER (-1) has no vote.

    Returns:
        (b,) ids, NO_ANSWER where no candidate of a row has one.

    Raises:
        TypeError: for a legacy or missing key, and answers that are no integers.
        ValueError: for answers of another rank, and for a concrete id below -1.

    References:
        Wang et al., 2023 (self-consistency), section 2 (from memory).
    """
    return weighted_vote(key, answers, jnp.ones(answers.shape, jnp.float32))


def weighted_vote(key: jax.Array, answers: Int[ArrayLike, "b n"], weights: Float[ArrayLike, "b n"]) -> Int[Array, " b"]:
    """Return the answer whose candidates have the largest sum of weights in each row; ties are as likely as each other.

    Args:
        key: one typed key, which decides between equal sums.
        answers: (b, n) ids of n answers per row, from 0 on; NO_ANSWER (-1) has no vote, and its weight does not matter.
        weights: (b, n) such as a verifier's probability that the candidate is right. A NaN counts 0.

    Returns:
        (b,) ids, NO_ANSWER where no candidate of a row has one.

    Raises:
        TypeError: for a legacy or missing key, answers that are no integers, and weights that are not floating.
        ValueError: for different shapes, answers of another rank, and for a concrete id below -1.

    References:
        Li et al., 2023 (DiVeRSe), section 3.2 (from memory).
    """
    checks.same_shape("answers", answers, "weights", weights)
    checks.floating("weights", weights)
    if not jnp.issubdtype(answers.dtype, jnp.integer):
        raise TypeError(f"answers must hold integers, got {answers.dtype}")
    if len(answers.shape) != 2 or answers.shape[1] < 1:
        raise ValueError(f"answers has shape {answers.shape}: (rows, candidates) with at least one candidate is needed")
    checks.in_range("answers", answers, float(NO_ANSWER), float(2**31 - 1))
    ids, values = jnp.asarray(answers), jnp.asarray(weights)
    votes = arrays.widened(jnp.where((ids >= 0) & ~jnp.isnan(values), values, 0))
    equal = ids[:, :, None] == ids[:, None, :]
    sums = jnp.sum(jnp.where(equal, votes[:, None, :], 0), 2)
    first = arrays.argmax(equal.astype(jnp.float32)) == jnp.arange(ids.shape[1], dtype=jnp.int32)[None]
    best = best_of_n(key, jnp.where(first & (ids >= 0), sums, jnp.nan))
    return jnp.take_along_axis(ids, best[:, None], 1)[:, 0]
