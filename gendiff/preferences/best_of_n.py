"""Best-of-n: draw several candidates and keep the one that a verifier scores highest.

How far that goes from the model is known exactly.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, sample_keys
from gendiff.core.types import ArrayLike, PyTree


def candidates(key: jax.Array, draw: Callable[[jax.Array], PyTree], n: int) -> PyTree:
    """Draw n candidates, one after the other: number j is draw(fold_in(key, j)), however many there are.

    So the first of 64 candidates is the one that is drawn alone, and the best of 64 is the best of the first 8 or one
    of the others.

    Args:
        key: one typed key.
        draw: (key) -> a tree of arrays, such as a batch of texts or of pictures. It is traced once.
        n: how many, >= 1.

    Returns:
        The same tree with an axis of candidates in front of every array, (n, …).

    Raises:
        TypeError: for a legacy or missing key.
        ValueError: for n below 1.
    """
    sample_keys.check_key(key)
    checks.integer("n", n, 1)
    return jax.lax.map(lambda number: draw(jax.random.fold_in(key, number)), jnp.arange(n))


def best_of_n(key: jax.Array, scores: Float[ArrayLike, "b n"]) -> Int[Array, " b"]:
    """Choose the candidate with the highest score of each row; equal ones are equally likely.

    A further candidate changes the choice only by being chosen itself, for each one's chance is drawn from a key of its
    own.

    Args:
        key: one typed key, which decides between equal scores.
        scores: (b, n) of n candidates per row. NaN loses against every number.

    Returns:
        (b,) places 0 … n - 1.

    Raises:
        TypeError: for a legacy or missing key, and scores that are not floating.
        ValueError: for scores of another rank, and for rows without a candidate.
    """
    sample_keys.check_key(key)
    checks.floating("scores", scores)
    if len(scores.shape) != 2 or scores.shape[1] < 1:
        raise ValueError(f"scores has shape {scores.shape}: (rows, candidates) with at least one candidate is needed")
    values = jnp.asarray(scores)
    rows, n = values.shape
    known = jnp.where(jnp.isnan(values), -jnp.inf, values)
    numbers = ~jnp.isnan(values)
    ties = (known == jnp.max(known, 1, keepdims=True)) & (numbers | ~jnp.any(numbers, 1, keepdims=True))

    def chances(row: jax.Array) -> jax.Array:
        row_key = jax.random.fold_in(key, row)
        return jax.vmap(lambda number: jax.random.uniform(jax.random.fold_in(row_key, number)))(jnp.arange(n))

    return arrays.argmax(jnp.where(ties, jax.vmap(chances)(jnp.arange(rows)), -1.0))


def kl_bound(n: int | np.ndarray) -> np.ndarray | np.float64:
    """KL(best of n ‖ model) is at most log n - (n - 1) / n nats, whatever the scores are.

    It is equal where no two candidates can have the same score, as with continuous ones. Ties and candidates of large
    probability make the true value smaller (see `best_of_n_law`).

    Args:
        n: how many candidates, >= 1; an array of several numbers will do.

    Returns:
        A float64 number of nats for each n.

    Raises:
        ValueError: for a number below 1.

    References:
        Stiennon et al., 2020, Appendix G.3; Beirami et al., 2024, Theorem 1, for the bound (from memory).
    """
    checks.in_range("n", n, 1.0, float("inf"), open_high=True)
    count = np.asarray(n, np.float64)
    bound: np.ndarray | np.float64 = np.log(count) - (count - 1) / count
    return bound


def best_of_n_law(
    probabilities: Float[ArrayLike, "*b m"], rewards: Float[ArrayLike, "*b m"], n: int
) -> Float[Array, "*b m"]:
    """Compute the exact law of the best of n draws from m outcomes.

    Outcomes of equal reward are equally likely to be chosen. The best reward is r with probability F(r)^n - F(r-)^n,
    where F is the distribution of rewards under the model, and outcomes of one reward keep their proportions. It takes
    m² operations per row.

    Args:
        probabilities: (…, m) of the model, each row adding up to 1.
        rewards: (…, m).
        n: how many draws, >= 1.

    Returns:
        (…, m) probabilities. An outcome that the model never draws has 0.

    Raises:
        ValueError: for another shape of rewards, concrete probabilities outside [0, 1], and n below 1.
    """
    checks.same_shape("probabilities", probabilities, "rewards", rewards)
    checks.in_range("probabilities", probabilities, 0.0, 1.0)
    checks.integer("n", n, 1)
    probability, value = jnp.asarray(probabilities), jnp.asarray(rewards)
    equal = value[..., None, :] == value[..., :, None]
    lower = value[..., None, :] < value[..., :, None]
    same, below = (jnp.sum(jnp.where(which, probability[..., None, :], 0), -1) for which in (equal, lower))
    mass = jnp.minimum(same + below, 1) ** n - jnp.minimum(below, 1) ** n
    return arrays.safe_divide(probability, same) * mass
