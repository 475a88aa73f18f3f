"""The scale of a group of weights in −8 … 7 times a scale, by a search for the least squared error."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LEAST, MOST = -8, 7
"""The integers of 4 bits."""
DIVISORS = np.concatenate([-np.linspace(5.5, 9.5, 21), np.linspace(5.5, 8.0, 11)]).astype(np.float32)
"""What the weight of the largest magnitude is divided by. A negative one stores it as about −8, a positive one as 7."""
INSIDE = np.abs(DIVISORS) < 7.4
"""Those with which no weight is rounded beyond −7 … 7, so that none is clipped, which is half of the work."""


def searched_scale(
    weights: Float[Array, "outputs groups n"], scale_dtype: str, importance: Float[Array, "groups n"] | None = None
) -> Float[Array, "outputs groups"]:
    """Search the scale of each group with the least sum of importance · (weight − scale · integer)².

    The candidates are max |w| / 7, fractions of the weight of the largest magnitude, which make negative scales too,
    and at last the best scale for the integers of the best candidate, (Σ w q) / (Σ q²). So the error is never above
    that of max |w| / 7.

    Args:
        weights: in groups of inputs.
        scale_dtype: of the scales as they are stored; candidates are rounded to it before they are compared.
        importance: of each input, such as the mean square of what it is multiplied with. None: all are equal.

    References:
        The search of ggml's make_qx_quants, which also weighs errors (from memory).
    """
    weigh = jnp.ones((1, 1, 1), weights.dtype) if importance is None else importance.astype(weights.dtype)[None]

    def judged(scale: jax.Array, clipped: bool = True) -> tuple[jax.Array, jax.Array, jax.Array]:
        stored = scale.astype(scale_dtype).astype(weights.dtype)
        integers = jnp.round(weights / nonzero(stored)[..., None])
        integers = jnp.clip(integers, LEAST, MOST) if clipped else integers
        return stored, jnp.sum(weigh * jnp.square(weights - stored[..., None] * integers), -1), integers

    def better(
        best: tuple[jax.Array, jax.Array], scale: jax.Array, clipped: bool = True
    ) -> tuple[jax.Array, jax.Array]:
        stored, error, _ = judged(scale, clipped)
        return jnp.where(error < best[1], stored, best[0]), jnp.minimum(error, best[1])

    def one_more(
        divisors: jax.Array, clipped: bool, i: jax.Array, best: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        return better(best, largest / divisors[i], clipped)

    largest = jnp.take_along_axis(weights, jnp.argmax(jnp.abs(weights), -1)[..., None], -1)[..., 0]
    best = judged(jnp.abs(largest) / MOST)[:2]
    for clipped, chosen in ((False, INSIDE), (True, ~INSIDE)):
        step = functools.partial(one_more, jnp.asarray(DIVISORS[chosen], weights.dtype), clipped)
        best = jax.lax.fori_loop(0, int(chosen.sum()), step, best)
    integers = judged(best[0])[2]
    squares = jnp.sum(weigh * jnp.square(integers), -1)
    return better(best, jnp.sum(weigh * weights * integers, -1) / nonzero(squares))[0]


def nonzero(scale: jax.Array) -> jax.Array:
    """The scale to divide by: that of zeros alone, which is 0, becomes 1."""
    return jnp.where(scale == 0, jnp.ones_like(scale), scale)
