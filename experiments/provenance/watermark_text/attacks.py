"""What is done to marked texts: tokens are replaced, deleted, cut off, or written anew by the model without a key."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import records

REPLACED, DELETED, CUT = "replaced", "deleted", "cut off"
WAYS = (REPLACED, DELETED, CUT)


def changed(way: str, tokens: np.ndarray, share: float, vocabulary: int, rng: np.random.Generator) -> np.ndarray:
    """Texts (b, n) of which a share of tokens is replaced by random ones, deleted, or cut off; −1 stands behind shorter
    ones.
    """
    if way == CUT:
        return tokens[:, : round(tokens.shape[1] * (1 - share))]
    hit = rng.random(tokens.shape) < share
    if way == REPLACED:
        return np.where(hit, rng.integers(0, vocabulary, tokens.shape), tokens)
    order = np.argsort(hit, axis=1, kind="stable")
    return np.take_along_axis(np.where(hit, -1, tokens), order, 1)


def left(way: str, share: float) -> float:
    """What is left of the mean of z where choices are of two neighbours: a replaced token costs two choices, a deleted
    one too.

    A deletion and a cut leave fewer choices to score, by the root of which z is divided.
    """
    share_left = 1 - share
    return {REPLACED: share_left**2, DELETED: share_left**1.5, CUT: share_left**0.5}[way]


def spans(tokens: int, share: float, span: int) -> np.ndarray:
    """(tokens,) which tokens are kept where spans of a share of all of them are written anew, evenly spread, the first
    kept.
    """
    period = round(span / share)
    return np.arange(tokens) % period < period - span


@records.record
class Anew:
    """A processor that forces the given tokens where they are kept, and leaves the others to the model.

    Attributes:
        tokens: (b, n) ids.
        kept: (n,) which of them stay.
    """

    tokens: Any
    kept: Any

    def __call__(self, logits: Float[Array, "b v"], context: Any) -> Float[Array, "b v"]:
        """Change the logits."""
        token = jnp.take_along_axis(jnp.asarray(self.tokens), context.generated[:, None], 1)
        forced = jnp.where(token == jnp.arange(logits.shape[1])[None], 0.0, -jnp.inf)
        return jnp.where(jnp.asarray(self.kept)[context.generated][:, None], forced, logits)
