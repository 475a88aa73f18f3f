"""Speculation for Gaussian steps: a cheap model's draw is kept where it can be, and reflected where not."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Scalar


def accept_or_reflect(
    uniform: Float[ArrayLike, "b"],
    drawn: Float[ArrayLike, "b *shape"],
    drawn_mean: Float[ArrayLike, "b *shape"],
    mean: Float[ArrayLike, "b *shape"],
    std: Scalar,
) -> tuple[Float[Array, "b *shape"], Bool[Array, " b"]]:
    """Turn draws of N(drawn_mean, std²) into draws of N(mean, std²), most of which stay as they are.

    A draw is accepted with probability min(1, p / q), else it becomes mean + drawn_mean − drawn, whose density under p
    is the draw's under q. So steps x' = mean(x) + std · noise of ancestral samplers, which a small network drew ahead,
    are verified by a large one in one batched call. The share that is accepted is 2 Φ(−|mean − drawn_mean| / (2 std)),
    and no coupling has a larger one.

    Args:
        uniform: (b,) in [0, 1), independent of the draws.
        drawn: (b, …) draws of the cheap model.
        drawn_mean: (b, …) its means.
        mean: (b, …) those that are wanted.
        std: () or (b,) > 0, of both.

    Returns:
        The samples (b, …), and whether each one is the draw itself (b,).

    Raises:
        ValueError: for a concrete std that is not positive, and shapes that differ.

    References:
        De Bortoli et al., 2025, Alg. 3; Bou-Rabee et al., 2020, section 2.3, reflect along the difference of the means
        alone (from memory).
    """
    checks.in_range("std", std, 0.0, float("inf"), open_low=True, open_high=True)
    for name, value in (("drawn_mean", drawn_mean), ("mean", mean)):
        checks.same_shape("drawn", drawn, name, value)
    x, centre, wanted = (jnp.asarray(value) for value in (drawn, drawn_mean, mean))
    spread = arrays.expand(std, x)
    # log p − log q = (wanted − centre) · (2 x − wanted − centre) / (2 std²), without the difference of two squares
    gain = jnp.sum(arrays.flatten_samples((wanted - centre) / spread * ((x - centre) + (x - wanted)) / (2 * spread)), 1)
    accepted = jnp.log(jnp.asarray(uniform)) < gain
    keep = accepted.reshape(accepted.shape + (1,) * (x.ndim - 1))
    return jnp.where(keep, x, wanted + centre - x), accepted
