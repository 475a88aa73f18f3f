"""Preferences of a judge that reads two answers in both orders. Also known as: LLM-as-a-judge, RLAIF.

A language model that is asked which of two answers is better leans to one of the two places. Its log-odds for "the
first one" are then d + c, where d is by how much the answer is better and c what its place is worth. After a swap they
are −d + c, so half of their difference is d, and half of their sum is c.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import records
from gendiff.core.types import ArrayLike, PyTree

T = TypeVar("T")
Judge = Callable[[PyTree, PyTree], ArrayLike]
"""(first, second) -> (b,) log-odds that what stands first is the better one; NaN where the judge has no answer."""


@records.record
class Labels:
    """A judge's log-odds for b pairs, in both orders.

    Attributes:
        log_odds: (b,) that `first` is the better one: the mean of both orders, in which a lean to one place cancels.
        place: (b,) what standing first is worth, in log-odds: 0 for a judge without a lean.
        agree: (b,) whether both orders prefer the same answer. Where they do not, the lean outweighs the difference; a
            tie is no agreement.
    """

    log_odds: jax.Array
    place: jax.Array
    agree: jax.Array

    @property
    def probability(self) -> Float[Array, "*b"]:
        """The probability that `first` is the better one: a soft label."""
        return jax.nn.sigmoid(self.log_odds)

    @property
    def one_order(self) -> Float[Array, "*b"]:
        """The log-odds of the order with `first` in front, as of a judge that is asked once."""
        return self.log_odds + self.place


def labels(judge: Judge, first: PyTree, second: PyTree) -> Labels:
    """Ask a judge about pairs in both orders.

    Args:
        judge: is called twice, as judge(first, second) and as judge(second, first).
        first: answers, a tree of arrays (b, …), of which the judge alone knows the meaning.
        second: the answers that they are compared with, a tree of the same structure.

    Raises:
        TypeError: for answers of different structures, and log-odds that are no floats.
        ValueError: for log-odds that are not one number per pair.

    References:
        Bai et al., 2022, "Constitutional AI", section 4.1, for labels from log-probabilities; Zheng et al., 2023,
        section 3.4, for the swap (from memory).
    """
    _check_alike(first, second)
    forward, backward = (_log_odds(judge, *pair) for pair in ((first, second), (second, first)))
    if forward.shape != backward.shape:
        raise ValueError(
            f"judge answers shape {forward.shape} in one order and {backward.shape} in the other: one number per pair "
            "is needed"
        )
    agree = ((forward > 0) & (backward < 0)) | ((forward < 0) & (backward > 0))
    return Labels((forward - backward) / 2, (forward + backward) / 2, agree)


def ordered(log_odds: Float[ArrayLike, "b"], first: T, second: T) -> tuple[T, T]:
    """Put each pair in the order of its label, as losses on pairs take them.

    Args:
        log_odds: (b,) that `first` is the better one. `first` is chosen at 0 and where it is NaN: leave such pairs out.
        first: answers, a tree of arrays (b, …).
        second: answers, a tree of the same structure.

    Returns:
        The chosen answers and the rejected ones.

    Raises:
        TypeError: for answers of different structures.
        ValueError: for log-odds that are not one number per pair.
    """
    _check_alike(first, second)
    keep = ~(jnp.asarray(log_odds) < 0)
    for leaf in jax.tree.leaves(first):
        if keep.shape != leaf.shape[:1]:
            raise ValueError(
                f"log_odds has shape {keep.shape} for answers of shape {leaf.shape}: one number per pair is needed"
            )

    def taken(one: ArrayLike, other: ArrayLike) -> jax.Array:
        return jnp.where(keep.reshape(keep.shape + (1,) * (one.ndim - 1)), one, other)

    return jax.tree.map(taken, first, second), jax.tree.map(taken, second, first)


def _log_odds(judge: Judge, first: PyTree, second: PyTree) -> jax.Array:
    answer = jnp.asarray(judge(first, second))
    if not jnp.issubdtype(answer.dtype, jnp.floating):
        raise TypeError(
            f"judge answers {answer.dtype}: log-odds are floats, such as the logit of the first place less that of the "
            "second"
        )
    count = next((leaf.shape[0] for leaf in jax.tree.leaves(first)), answer.shape[:1])
    if answer.ndim != 1 or (isinstance(count, int) and answer.shape[0] != count):
        raise ValueError(f"judge answers shape {answer.shape} to {count} pairs: one number per pair is needed")
    return answer


def _check_alike(first: PyTree, second: PyTree) -> None:
    structures: list[object] = [jax.tree.structure(tree) for tree in (first, second)]
    if structures[0] != structures[1]:
        raise TypeError(f"first is {structures[0]} and second {structures[1]}: they must be trees of one structure")
