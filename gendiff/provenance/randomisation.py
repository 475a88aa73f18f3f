"""P-values by randomisation: the rank of the real key among fresh ones, exact without any law of the pictures.

Where the picture was made without the key, the real key and fresh random ones are exchangeable: each is as likely as
another to fit best. So the rank of its score is uniform, whatever pictures are, and however the score is made. Exact
means over the choice of the key: under one key for many pictures, the share of false alarms is that key's own, and its
mean over keys is the level.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Integer, Shaped, UInt32

from gendiff.core import arrays, checks, sample_keys
from gendiff.core.types import ArrayLike


def randomisation_p(
    score: Shaped[ArrayLike, "*n"], others: Shaped[ArrayLike, "*n k"], *, rng: np.random.Generator | None = None
) -> Float64[np.ndarray, "*n"]:
    """The share of keys, the real one included, that fit at least as well: (1 + #{others ≥ score}) / (k + 1).

    Args:
        score: (…) under the real key; more fits better.
        others: (…, k) under fresh random keys, of the same pictures.
        rng: breaks ties by chance, so that p is exactly uniform on 1/(k + 1) … 1 without the mark. Without it ties
            count against the mark: p ≤ a has at most the probability a.

    Raises:
        ValueError: for shapes that do not agree, no other keys, and numbers that are not finite.

    References:
        Phipson and Smyth, 2010 (from memory): never 0, since the real key is one of those that it is compared with.
    """
    real, fresh = np.asarray(score, np.float64), np.asarray(others, np.float64)
    if fresh.shape[:-1] != real.shape or fresh.ndim != real.ndim + 1 or fresh.shape[-1] == 0:
        raise ValueError(
            f"others has shape {fresh.shape}, but score of shape {real.shape} needs {(*real.shape, 'k')} with k of at "
            "least 1"
        )
    checks.finite("score", real)
    checks.finite("others", fresh)
    above, ties = np.sum(fresh > real[..., None], -1), np.sum(fresh == real[..., None], -1)
    among = ties if rng is None else rng.integers(0, ties, endpoint=True)
    return np.asarray((1 + above + among) / (fresh.shape[-1] + 1), np.float64)


def fresh_keys(key: jax.Array, index: Integer[ArrayLike, "b"], count: int) -> UInt32[Array, "b count 2"]:
    """Random secret keys for each sample, a function of the call's key and of the sample's index alone.

    Args:
        key: one typed key, which must not be known to who made the pictures.
        index: (b,) names the samples.
        count: how many, at least 1.

    Raises:
        ValueError: for a count below 1, and as `diffusion.sample` does for keys and index.
    """
    checks.integer("count", count, 1)
    keys = arrays.fold_in(sample_keys.keys_of(key, index), 0)
    return jax.vmap(lambda sample_key: jax.random.bits(sample_key, (count, 2), jnp.uint32))(keys)
