"""Speculative sampling of Gaussian steps: a cheap model's draw is accepted, or reflected (reflection coupling)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Scalar


def accept_or_reflect(
    uniform: Float[ArrayLike, "b"],
    draft: Float[ArrayLike, "b *shape"],
    draft_mean: Float[ArrayLike, "b *shape"],
    mean: Float[ArrayLike, "b *shape"],
    std: Scalar,
) -> tuple[Float[Array, "b *shape"], Bool[Array, " b"]]:
    """Turn draws of N(draft_mean, std²) into draws of N(mean, std²), most of which stay as they are.

    Also known as: speculative sampling (verification); reflection coupling.

    A draw is accepted with probability min(1, p / q), else it becomes mean + draft_mean − draft, whose density under p
    is the draw's under q. So steps x' = mean(x) + std · noise of ancestral samplers, which a small network drew ahead,
    are verified by a large one in one batched call. The share that is accepted is 2 Φ(−|mean − draft_mean| / (2 std)),
    and no coupling has a larger one.

    Args:
        uniform: (b,) in [0, 1), independent of the draws.
        draft: (b, …) draws of the cheap model.
        draft_mean: (b, …) its means.
        mean: (b, …) the means of the large model.
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
    for name, value in (("draft_mean", draft_mean), ("mean", mean)):
        checks.same_shape("draft", draft, name, value)
    x, centre, target = (jnp.asarray(value) for value in (draft, draft_mean, mean))
    spread = arrays.expand(std, x)
    # log p − log q = (target − centre) · (2 x − target − centre) / (2 std²), without the difference of two squares
    gain = jnp.sum(arrays.flatten_samples((target - centre) / spread * ((x - centre) + (x - target)) / (2 * spread)), 1)
    accepted = jnp.log(jnp.asarray(uniform)) < gain
    keep = accepted.reshape(accepted.shape + (1,) * (x.ndim - 1))
    return jnp.where(keep, x, target + centre - x), accepted
