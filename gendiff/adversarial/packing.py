"""Packing: the critic judges m samples together, so that it sees when they are too alike. Also known as: PacGAN."""

import jax.numpy as jnp
from jaxtyping import Array, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike


def packed(x: Shaped[ArrayLike, "b *space c"], m: int) -> Shaped[Array, "k *space d"]:
    """Return m neighbours of the batch as one sample with m times the channels: (b, …, c) -> (b / m, …, m · c).

    Pack i has rows m i … m i + m − 1, in this order along the last axis. A critic of packs is one with m · c input
    channels. All m samples of a pack must be real, or all generated. A batch of b samples has b / m packs; the paper's
    batch counts packs.

    Args:
        x: (b, …, c), points (b, d) among them.
        m: at least 1, divides b. 1 returns x.

    Raises:
        ValueError: for x without a last axis of its own, and for m that does not divide the batch.
        TypeError: for m that is no integer.

    References:
        Lin et al., 2018, section 2 (from memory).
    """
    checks.integer("m", m, 1)
    array = jnp.asarray(x)
    if array.ndim < 2:
        raise ValueError(
            f"x of shape {array.shape} has no axis to put {m} samples side by side: pass (b, …, c), such as points (b, "
            "d)"
        )
    if array.shape[0] % m:
        raise ValueError(
            f"m = {m} does not divide the batch of {array.shape[0]} samples: choose a divisor of {array.shape[0]}"
        )
    b, *space, c = array.shape
    return jnp.moveaxis(array.reshape(b // m, m, *space, c), 1, -2).reshape(b // m, *space, m * c)
