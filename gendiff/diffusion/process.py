"""The forward process x = alpha * clean + sigma * noise: closed form, chain, posterior and the views of its noise.

Levels are () for a whole batch or (b,) for one per sample; every array is (b, …). Between a level and a `cleaner` one,
r = alpha / alpha' is the factor of the mean and sigma² - r² sigma'² the variance that the chain adds. These are
computed in float32 at least, and the result is rounded once to the dtype of x.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike
from gendiff.diffusion.types import Level


def add_noise(
    clean: Shaped[ArrayLike, "b *shape"], noise: Shaped[ArrayLike, "..."], level: Level
) -> Float[Array, "b *shape"]:
    """The noised sample alpha * clean + sigma * noise, which follows q(x_t | x_0) for standard normal noise.

    Args:
        clean: (b, …) floating.
        noise: (b, …).
        level: () or (b,).

    Raises:
        ValueError: if the shapes differ, or if clean still holds pixel values 0…255.
        TypeError: if clean is not floating.

    References:
        Ho et al., 2020, Eq. 4.
    """
    checks.floating("clean", clean)
    checks.same_shape("clean", clean, "noise", noise)
    checks.unscaled_pixels("clean", clean)
    return arrays.expand(level.alpha, clean) * clean + arrays.expand(level.sigma, clean) * noise


def forward_step(
    x: Float[ArrayLike, "b *shape"], noise: Float[ArrayLike, "..."], cleaner: Level, level: Level
) -> Float[Array, "b *shape"]:
    """One step of the chain, from x at `cleaner` to `level`: a sample of q(x_t | x_s), s < t.

    Args:
        x: (b, …) at `cleaner`.
        noise: (b, …) standard normal.
        cleaner: () or (b,), where x is.
        level: () or (b,), noisier.

    References:
        Ho et al., 2020, Eq. 2.
    """
    checks.same_shape("x", x, "noise", noise)
    ratio, added = _transition(cleaner, level, x)
    return (ratio * arrays.widened(x) + added * arrays.widened(noise)).astype(jnp.asarray(x).dtype)


def posterior(
    x: Float[ArrayLike, "b *shape"], clean: Float[ArrayLike, "..."], level: Level, cleaner: Level
) -> tuple[Float[Array, "b *shape"], Float[Array, "..."]]:
    """Mean and standard deviation of q(x_s | x_t, x_0), s < t. Finite wherever sigma > 0, zero terminal SNR included.

    Args:
        x: (b, …) at `level`.
        clean: (b, …) x_0.
        level: () or (b,).
        cleaner: () or (b,), where the answer is.

    Returns:
        The mean (b, …), and the standard deviation, which broadcasts against it.

    References:
        Ho et al., 2020, Eqs. 6-7.
    """
    checks.same_shape("x", x, "clean", clean)
    ratio, added = _transition(cleaner, level, x)
    dtype, x, clean = jnp.asarray(x).dtype, arrays.widened(x), arrays.widened(clean)
    to_alpha, to_sigma = arrays.expand(cleaner.alpha, x), arrays.expand(cleaner.sigma, x)
    variance = arrays.expand(level.sigma, x) ** 2
    factor = arrays.safe_divide(to_sigma**2, variance, otherwise=1.0)  # from clean to clean, x stays
    mean = to_alpha * arrays.safe_divide(added**2, variance) * clean + ratio * factor * x
    std = to_sigma * arrays.safe_sqrt(arrays.safe_divide(added**2, variance))
    return mean.astype(dtype), std.astype(dtype)


def added_std(cleaner: Level, level: Level, like: ArrayLike) -> Float[Array, "..."]:
    """The standard deviation sqrt(sigma² - r² sigma'²) that the chain adds, broadcasting against `like` (b, …).

    References:
        Kingma et al., 2021, Eq. 20.
    """
    return _transition(cleaner, level, like)[1].astype(jnp.asarray(like).dtype)


def score_from_noise(noise: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
    """The score grad log q(x_t) = -noise / sigma. Infinite at sigma = 0, where the score is.

    References:
        Song et al., 2021b.
    """
    return jnp.negative(noise) / arrays.expand(level.sigma, noise)


def noise_from_score(score: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
    """The noise -sigma * score."""
    return -arrays.expand(level.sigma, score) * score


def velocity_from(
    clean: Float[ArrayLike, "b *shape"], noise: Float[ArrayLike, "..."], level: Level
) -> Float[Array, "b *shape"]:
    """The velocity alpha * noise - sigma * clean.

    References:
        Salimans & Ho, 2022, App. D.
    """
    checks.same_shape("clean", clean, "noise", noise)
    return arrays.expand(level.alpha, clean) * noise - arrays.expand(level.sigma, clean) * clean


def _transition(cleaner: Level, level: Level, like: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Factor of the mean and standard deviation added between two levels, in the dtype of `like`, at least float32."""
    checks.floating("x", like)
    like = arrays.widened(like)
    alpha, to_alpha = arrays.expand(level.alpha, like), arrays.expand(cleaner.alpha, like)
    sigma, to_sigma = arrays.expand(level.sigma, like), arrays.expand(cleaner.sigma, like)
    ratio = alpha / to_alpha
    factor = ratio * to_sigma
    return ratio, arrays.safe_sqrt((sigma - factor) * (sigma + factor))
