"""Exact denoisers: distributions whose noised score is closed form, so that samplers are judged without training anything.

A Gaussian mixture noised to (alpha, sigma) is a Gaussian mixture with means alpha mu and variances alpha² s² + sigma².
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, trees
from gendiff.core.types import ArrayLike, Level, Prediction, Scalar
from gendiff.diffusion import sampling
from gendiff.diffusion.sampling import Sampler


@trees.record
class Gaussian:
    """Isotropic Gaussian data of any shape, as a Denoiser."""

    std: Scalar
    mean: Scalar = 0.0

    def __call__(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Prediction:
        alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
        std, mean = arrays.expand(self.std, x), arrays.expand(self.mean, x)
        variance, centred = alpha**2 * std**2 + sigma**2, x - alpha * mean
        return Prediction(
            clean=mean + arrays.safe_divide(alpha * std**2, variance) * centred, noise=arrays.safe_divide(sigma, variance) * centred
        )

    def marginal_std(self, level: Level) -> Array:
        """sqrt(alpha² s² + sigma²), of the level's shape."""
        return jnp.sqrt((jnp.asarray(level.alpha) * jnp.asarray(self.std)) ** 2 + jnp.asarray(level.sigma) ** 2)

    def flow(self, x: Float[ArrayLike, "b *shape"], level: Level, cleaner: Level) -> Float[Array, "b *shape"]:
        """Where the exact probability flow carries x: distances from alpha * mean scale with the marginal standard deviation."""
        growth = arrays.expand(self.marginal_std(cleaner) / self.marginal_std(level), x)
        mean = arrays.expand(self.mean, x)
        return arrays.expand(cleaner.alpha, x) * mean + growth * (x - arrays.expand(level.alpha, x) * mean)

    def endpoint_error(self, sampler: Sampler, steps: int) -> float:
        """Root mean square error of a deterministic sampler's end points against the exact flow.

        `steps` intervals even in log-SNR, from sigma/alpha = 20 to 0.05 with alpha² + sigma² = 1, for 65 start points within 2
        standard deviations.
        """
        checks.integer("steps", steps, 1)
        log_snr = jnp.linspace(-2 * math.log(20.0), 2 * math.log(20.0), steps + 1)
        levels = Level(t=log_snr, alpha=jnp.sqrt(jax.nn.sigmoid(log_snr)), sigma=jnp.sqrt(jax.nn.sigmoid(-log_snr)))
        x = levels.alpha[0] * self.mean + (self.marginal_std(levels[0]) * jnp.linspace(-2.0, 2.0, 65)).reshape(65, 1)
        ended = sampling.sample(jax.random.key(0), self, sampler, levels, (1,), jnp.arange(65), start=x)
        return float(arrays.rms(ended - self.flow(x, levels[0], levels[-1])))


@trees.record
class Mixture:
    """A Gaussian mixture over samples of shape (*shape), as a Denoiser. weights, stds: (k,); means: (k, *shape)."""

    weights: ArrayLike
    means: ArrayLike
    stds: ArrayLike

    def __call__(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Prediction:
        alpha, sigma, offset, variance = self._centred(x, level)
        share = jax.nn.softmax(self._log_joint(offset, variance), axis=1)[:, :, None]
        std = jnp.asarray(self.stds, x.dtype)[None, :, None]
        means = jnp.asarray(self.means, x.dtype).reshape(1, offset.shape[1], -1)
        clean = jnp.sum(share * (means + arrays.safe_divide(alpha * std**2, variance) * offset), axis=1)
        noise = jnp.sum(share * arrays.safe_divide(sigma, variance) * offset, axis=1)
        return Prediction(clean.reshape(x.shape), noise.reshape(x.shape))

    def log_density(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b"]:
        """log p(x) of the noised mixture, in nats."""
        _, _, offset, variance = self._centred(x, level)
        return jax.nn.logsumexp(self._log_joint(offset, variance), axis=1)

    def score(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
        """The gradient of `log_density` in closed form."""
        _, _, offset, variance = self._centred(x, level)
        share = jax.nn.softmax(self._log_joint(offset, variance), axis=1)[:, :, None]
        return -jnp.sum(share * offset / variance, axis=1).reshape(x.shape)

    def draw(self, key: jax.Array, count: int) -> Float[Array, "b *shape"]:
        """`count` clean samples."""
        which_key, noise_key = jax.random.split(key)
        means = jnp.asarray(self.means)
        which = jax.random.choice(which_key, means.shape[0], (count,), p=jnp.asarray(self.weights, means.dtype))
        noise = jax.random.normal(noise_key, (count, *means.shape[1:]), means.dtype)
        return means[which] + arrays.expand(jnp.asarray(self.stds)[which], noise) * noise

    def _centred(self, x: ArrayLike, level: Level) -> tuple[Array, Array, Array, Array]:
        """alpha, sigma, x - alpha mu and the variances, broadcasting over (b, k, d)."""
        flat = arrays.flatten_samples(x)[:, None, :]
        alpha, sigma = arrays.expand(level.alpha, flat), arrays.expand(level.sigma, flat)
        means = jnp.asarray(self.means, flat.dtype).reshape(1, np.shape(self.stds)[0], -1)
        std = jnp.asarray(self.stds, flat.dtype)[None, :, None]
        return alpha, sigma, flat - alpha * means, alpha**2 * std**2 + sigma**2

    def _log_joint(self, offset: Array, variance: Array) -> Array:
        """log(weight · density) of each component, (b, k)."""
        size = offset.shape[2]
        weights = jnp.log(jnp.asarray(self.weights, offset.dtype))[None, :]
        return weights - jnp.sum(offset**2 / variance, axis=2) / 2 - size / 2 * jnp.log(2 * jnp.pi * variance[:, :, 0])


def gaussian(std: Scalar, mean: Scalar = 0.0) -> Gaussian:
    """Isotropic Gaussian data of standard deviation `std` >= 0 around `mean`."""
    checks.in_range("std", std, 0.0, math.inf, open_high=True)
    return Gaussian(std, mean)


def mixture(weights: ArrayLike | list[float], means: ArrayLike | list, stds: ArrayLike | list[float]) -> Mixture:
    """Isotropic components: weights (k,) adding up to 1, means (k, *shape), stds (k,) >= 0."""
    weights, means, stds = (np.asarray(value, np.float64) for value in (weights, means, stds))
    if weights.ndim != 1 or stds.shape != weights.shape or means.ndim < 2 or means.shape[0] != weights.size:
        raise ValueError(f"a mixture needs weights (k,), means (k, *shape) and stds (k,), got {weights.shape}, {means.shape}, {stds.shape}")
    checks.in_range("weights", weights, 0.0, 1.0)
    checks.in_range("stds", stds, 0.0, math.inf, open_high=True)
    if not math.isclose(weights.sum(), 1.0, abs_tol=1e-6):
        raise ValueError(f"weights add up to {weights.sum():g}, not 1")
    return Mixture(jnp.asarray(weights), jnp.asarray(means), jnp.asarray(stds))
