"""Reward models from rankings: the better answer wins with probability logistic(difference of scores)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Metrics, Scalar


def bradley_terry(scores: Float[ArrayLike, "b k"], ranking: Int[ArrayLike, "b k"]) -> tuple[Float[Array, ""], Metrics]:
    """Mean of −log logistic(better − worse) over all C(k, 2) pairs of each row.

    All answers to a prompt stand in one row, so that each weighs the same however many pairs it is in. A constant added
    to a row's scores changes nothing: scores have no zero (see `normaliser`).

    Args:
        scores: (b, k) of k ≥ 2 answers per prompt.
        ranking: (b, k) places 0 … k − 1 of a row's answers, the best one first.

    Returns:
        The loss (), and metrics `accuracy`: the share of pairs in the order of the ranking, where a tie is half a pair;
        `margin`: the mean of better − worse.

    Raises:
        ValueError: for less than two answers, a ranking of another shape, and a concrete one that does not name each
            answer once.
        TypeError: for a ranking that holds no integers.

    References:
        Bradley & Terry, 1952; Christiano et al., 2017, Eq. 1; Ouyang et al., 2022, Eq. 1, for rankings (from memory).
    """
    checks.same_shape("scores", scores, "ranking", ranking)
    if len(scores.shape) != 2 or scores.shape[1] < 2:
        raise ValueError(f"scores has shape {scores.shape}: (prompts, answers) with at least two answers is needed")
    k = scores.shape[1]
    checks.ids("ranking", ranking, k)
    if arrays.is_concrete(ranking) and not np.array_equal(
        np.sort(np.asarray(ranking), 1), np.broadcast_to(np.arange(k), ranking.shape)
    ):
        raise ValueError(f"ranking must name each of the {k} answers of a row once, the best one first")
    ordered = jnp.take_along_axis(arrays.widened(scores), jnp.asarray(ranking), 1)
    better, worse = np.triu_indices(k, 1)
    margins = ordered[:, better] - ordered[:, worse]
    right = (jnp.sign(margins) + 1) / 2
    return jnp.mean(jax.nn.softplus(-margins)), {"accuracy": jnp.mean(right), "margin": jnp.mean(margins)}


def preference(first: Float[ArrayLike, "*shape"], second: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Probability that the first answer is preferred, logistic(first − second).

    Args:
        first: scores, of any shape.
        second: scores of the same shape.

    Raises:
        ValueError: for another shape.
    """
    checks.same_shape("first", first, "second", second)
    return jax.nn.sigmoid(arrays.widened(first) - arrays.widened(second))


@records.record
class Normaliser:
    """Maps scores to (scores − shift) / scale. Built by `normaliser`; the numbers are data under jit.

    Attributes:
        shift: () the mean of the reference's scores.
        scale: () their standard deviation.
    """

    shift: Scalar
    scale: Scalar

    def __call__(self, scores: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Normalise scores of any shape; all are 0 where the scale is 0."""
        wide = arrays.widened(scores)
        return arrays.safe_divide(wide - jnp.asarray(self.shift, wide.dtype), jnp.asarray(self.scale, wide.dtype))


def normaliser(scores: Float[ArrayLike, "*shape"]) -> Normaliser:
    """Fit shift and scale, such that these scores get mean 0 and standard deviation 1.

    Preferences leave the zero of the scores open. A penalty β · KL has its meaning only beside scores whose scale is
    fixed, so fit it once, on answers of the reference policy, and keep it.

    Args:
        scores: of answers of the reference policy, at least two of any shape.

    Raises:
        ValueError: for less than two scores, and for concrete ones that are not finite or all equal.

    References:
        Ziegler et al., 2019, section 2.2; Stiennon et al., 2020, section 3.4 (from memory).
    """
    checks.finite("scores", scores)
    if scores.size < 2:
        raise ValueError(f"scores has shape {scores.shape}: at least two are needed for a scale")
    wide = arrays.widened(scores)
    shift, scale = jnp.mean(wide), jnp.std(wide)
    if arrays.is_concrete(scale) and not np.asarray(scale) > 0:
        raise ValueError(
            f"scores are all {np.asarray(shift):g}: they have no scale; the reward model tells no answers apart"
        )
    return Normaliser(shift, scale)


def disagreement(predictions: Float[ArrayLike, "members *shape"]) -> Float[Array, "*shape"]:
    """Variance over the members of an ensemble: pairs on which it is large are worth asking people about.

    Args:
        predictions: of at least two members, one per entry of the first axis, such as `preference(first, second)` of
            each pair. Scores will do where they are normalised alike.

    Raises:
        ValueError: for less than two members.

    References:
        Christiano et al., 2017, section 2.2.4 (from memory).
    """
    if predictions.shape[0] < 2:
        raise ValueError(
            f"predictions has shape {predictions.shape}: at least two members are needed along the first axis"
        )
    return jnp.var(arrays.widened(predictions), axis=0)
