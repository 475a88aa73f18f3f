"""How far apart two answers to one sample are: the distances of consistency losses."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records

Metric = Callable[[jax.Array, jax.Array], jax.Array]
"""(x, y), both (b, …) -> the distance of each sample (b,), such as `pseudo_huber()` or one of features."""


def pseudo_huber(c: float | None = None) -> Metric:
    """The distance sqrt(|x - y|² + c²) - c of whole samples: squared for small differences, plain for large ones.

    Also known as: pseudo-Huber loss.

    Args:
        c: above 0. None: 0.00054 sqrt(d) for samples of d numbers.

    References:
        Song & Dhariwal, 2024, Eq. 7 and section 3.3 (from memory).
    """
    if c is not None:
        checks.in_range("c", c, 0.0, math.inf, open_low=True, open_high=True)
    return PseudoHuber(None if c is None else float(c))


@records.record
class PseudoHuber:
    """The distance of `pseudo_huber`."""

    c: float | None = records.static()

    def __call__(self, x: Float[Array, "b *shape"], y: Float[Array, "b *shape"]) -> Float[Array, "b"]:
        """The distance of each sample (b,)."""
        difference = arrays.flatten_samples(x - y)
        c = 0.00054 * math.sqrt(difference.shape[1]) if self.c is None else self.c
        return jnp.sqrt(jnp.sum(jnp.square(difference), axis=1) + c**2) - c


def mean_square() -> Metric:
    """The mean over a sample's numbers of (x - y)²."""
    return MeanSquare()


@records.record
class MeanSquare:
    """The distance of `mean_square`."""

    def __call__(self, x: Float[Array, "b *shape"], y: Float[Array, "b *shape"]) -> Float[Array, "b"]:
        """The distance of each sample (b,)."""
        return jnp.mean(jnp.square(arrays.flatten_samples(x - y)), axis=1)
