"""The probability flow in the angle of the noise path, where every process is finite from the clean end to pure noise.

With length N = sqrt(alpha² + sigma²) and angle a, tan(a) = sigma / alpha, the scaled sample w = x / N = cos(a)
clean + sin(a) noise follows dw/da = v = (alpha noise - sigma clean) / N. Near the clean end a and w are sigma / alpha
and x / alpha, near noise (a quarter turn away) alpha / sigma and x / sigma, the two forms of Heun's method; but neither
of those, nor their log-determinants, is finite at both ends.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays
from gendiff.core.types import ArrayLike
from gendiff.diffusion import process
from gendiff.diffusion.types import Level, Prediction


def length(level: Level) -> Array:
    """The length N = sqrt(alpha² + sigma²), of the level's shape: 1 for a variance-preserving path."""
    return jnp.sqrt(jnp.asarray(level.alpha) ** 2 + jnp.asarray(level.sigma) ** 2)


def between(level: Level, other: Level) -> Array:
    """The angle h from one level to another, of their shape, in [-pi/2, pi/2]: positive to noise, 0 for equal ones."""
    across, along = _products(level, other)
    return jnp.arctan2(across, along)


def half_tangent(level: Level, other: Level) -> Array:
    """The tangent tan(h/2) of half the angle h between two levels, in [-1, 1]: ±1 exactly for a quarter turn.

    cos(h) = (1 - tan²) / (1 + tan²) and sin(h) = 2 tan / (1 + tan²).
    """
    across, along = _products(level, other)
    return across / (length(level) * length(other) + along)


def velocity(prediction: Prediction, level: Level) -> Float[Array, "b *shape"]:
    """The velocity v = (alpha noise - sigma clean) / N at that level.

    References:
        Salimans & Ho, 2022, App. D, for any alpha and sigma.
    """
    moved = process.velocity_from(prediction.clean, prediction.noise, level)
    return moved / arrays.expand(length(level), moved)


def scaled(x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
    """The scaled sample w = x / N."""
    return jnp.asarray(x) / arrays.expand(length(level), x)


def unscaled(w: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
    """The sample x = N w."""
    return jnp.asarray(w) * arrays.expand(length(level), w)


def _products(level: Level, other: Level) -> tuple[Array, Array]:
    """N N' sin(h) and N N' cos(h)."""
    alpha, sigma = jnp.asarray(level.alpha), jnp.asarray(level.sigma)
    return other.sigma * alpha - sigma * other.alpha, alpha * other.alpha + sigma * other.sigma
