"""Exact denoisers: distributions whose noised score has a closed form, so that samplers are tested without training.

A Gaussian mixture noised to (alpha, sigma) is a Gaussian mixture with means alpha mu and variances alpha² s² + sigma².
Every oracle is a Denoiser that is finite from alpha = 0 to sigma = 0, draws clean samples, and has a probability flow:
in closed form for Gaussians, by `integrated_flow` for mixtures.
"""

import math
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Scalar
from gendiff.diffusion import sampling
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Denoiser, Level, Prediction

POINT = 1e-12
"""The variance in place of 0 for point masses at sigma = 0: the nearest point takes all the weight."""


@runtime_checkable
class Oracle(Protocol):
    """A Denoiser whose predictions are exact. It draws clean samples, and has an exact probability flow."""

    def __call__(self, x: Array, level: Level, /) -> Prediction:
        """Predict the posterior means of clean and noise, given x."""

    def draw(self, key: jax.Array, count: int) -> Array:
        """Draw `count` clean samples."""

    def flow(self, x: Array, level: Level, cleaner: Level) -> Array:
        """Find where the probability flow carries x from `level` to `cleaner`, both ()."""


@records.record
class Gaussian:
    """Isotropic Gaussian data of any shape, as a Denoiser.

    Args:
        std: () or (b,), >= 0.
        mean: () or (b,).
    """

    std: Scalar
    mean: Scalar = 0.0

    def __call__(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Prediction:
        """Predict mean + alpha s² / v (x - alpha mean) and sigma / v (x - alpha mean), v = alpha² s² + sigma²."""
        alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
        std, mean = arrays.expand(self.std, x), arrays.expand(self.mean, x)
        variance, centred = alpha**2 * std**2 + sigma**2, x - alpha * mean
        return Prediction(
            clean=mean + arrays.safe_divide(alpha * std**2, variance) * centred,
            noise=arrays.safe_divide(sigma, variance) * centred,
        )

    def marginal_std(self, level: Level) -> Array:
        """Compute sqrt(alpha² s² + sigma²), of the level's shape."""
        return jnp.sqrt((jnp.asarray(level.alpha) * jnp.asarray(self.std)) ** 2 + jnp.asarray(level.sigma) ** 2)

    def flow(self, x: Float[ArrayLike, "b *shape"], level: Level, cleaner: Level) -> Float[Array, "b *shape"]:
        """The end of the exact probability flow from x: distances from alpha * mean scale with the marginal std."""
        growth = arrays.expand(self.marginal_std(cleaner) / self.marginal_std(level), x)
        mean = arrays.expand(self.mean, x)
        return arrays.expand(cleaner.alpha, x) * mean + growth * (x - arrays.expand(level.alpha, x) * mean)

    def draw(self, key: jax.Array, count: int, shape: tuple[int, ...] = (1,)) -> Float[Array, "b *shape"]:
        """Draw `count` clean samples of that shape: this is the only oracle that has none of its own."""
        noise = jax.random.normal(key, (count, *shape))
        return arrays.expand(self.mean, noise) + arrays.expand(self.std, noise) * noise

    def endpoint_error(self, sampler: Sampler, steps: int) -> float:
        """Measure the root mean square error of a deterministic sampler's end points against the exact flow.

        There are 65 start points within 2 standard deviations. The grid is even in log-SNR, from sigma/alpha = 20 to
        0.05 with alpha² + sigma² = 1.

        Args:
            sampler: one that draws no noise.
            steps: intervals of the grid, >= 1.
        """
        checks.integer("steps", steps, 1)
        log_snr = jnp.linspace(-2 * math.log(20.0), 2 * math.log(20.0), steps + 1)
        levels = Level(t=log_snr, alpha=jnp.sqrt(jax.nn.sigmoid(log_snr)), sigma=jnp.sqrt(jax.nn.sigmoid(-log_snr)))
        x = levels.alpha[0] * self.mean + (self.marginal_std(levels[0]) * jnp.linspace(-2.0, 2.0, 65)).reshape(65, 1)
        ended = sampling.sample(jax.random.key(0), self, sampler, levels, (1,), jnp.arange(65), start=x)
        return float(arrays.rms(ended - self.flow(x, levels[0], levels[-1])))


@records.record
class CorrelatedGaussian:
    """Gaussian data of any covariance, as a Denoiser.

    Args:
        mean: (*shape).
        axes: (d, d) the principal axes, in its columns.
        variances: (d,) along them, >= 0.
    """

    mean: ArrayLike
    axes: ArrayLike
    variances: ArrayLike

    def __call__(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Prediction:
        """Predict along each principal axis as `Gaussian` does."""
        alpha, sigma, along, variance = self._along_axes(x, level)
        clean = self._from_axes(
            x, arrays.safe_divide(alpha * jnp.asarray(self.variances, x.dtype)[None], variance) * along
        )
        return Prediction(
            jnp.asarray(self.mean, x.dtype)[None] + clean,
            self._from_axes(x, arrays.safe_divide(sigma, variance) * along),
        )

    def flow(self, x: Float[ArrayLike, "b *shape"], level: Level, cleaner: Level) -> Float[Array, "b *shape"]:
        """The end of the exact flow from x: along each axis, distances from alpha * mean scale with the std."""
        _, _, along, before = self._along_axes(x, level)
        after = self._along_axes(x, cleaner)[3]
        mean = arrays.expand(cleaner.alpha, x) * jnp.asarray(self.mean, x.dtype)[None]
        return mean + self._from_axes(x, arrays.safe_sqrt(arrays.safe_divide(after, before)) * along)

    def draw(self, key: jax.Array, count: int) -> Float[Array, "b *shape"]:
        """Draw `count` clean samples."""
        mean = jnp.asarray(self.mean)
        noise = jax.random.normal(key, (count, mean.size), mean.dtype)
        spread = noise * arrays.safe_sqrt(self.variances)[None]
        return mean[None] + self._from_axes(jnp.zeros((count, *mean.shape), mean.dtype), spread)

    def _along_axes(self, x: ArrayLike, level: Level) -> tuple[Array, Array, Array, Array]:
        """alpha, sigma, x - alpha * mean in the principal axes, and the variances there, broadcasting over (b, d)."""
        flat = arrays.flatten_samples(x)
        alpha, sigma = arrays.expand(level.alpha, flat), arrays.expand(level.sigma, flat)
        along = (flat - alpha * jnp.asarray(self.mean, x.dtype).reshape(1, -1)) @ jnp.asarray(self.axes, x.dtype)
        return alpha, sigma, along, alpha**2 * jnp.asarray(self.variances, x.dtype)[None] + sigma**2

    def _from_axes(self, x: ArrayLike, along: Array) -> Array:
        return (along @ jnp.asarray(self.axes, x.dtype).T).reshape(x.shape)


def integrated_flow(
    denoise: Denoiser, x: Float[ArrayLike, "b *shape"], level: Level, cleaner: Level, *, tolerance: float = 1e-12
) -> Float[Array, "b *shape"]:
    """Integrate the probability flow of any denoiser from one level to another, in float64.

    The method is DOP853 of SciPy in half the log-SNR, for x / sqrt(alpha² + sigma²). It runs outside jit.

    Args:
        denoise: a pytree, as oracles and network denoisers are; asked at levels with alpha² + sigma² = 1 whose t is
            half the log-SNR.
        x: (b, …) float64 at `level`.
        level: () with alpha, sigma > 0.
        cleaner: () with alpha, sigma > 0.
        tolerance: about the error of the result, relative where |x| exceeds 1; 1e-12 … 1.

    Raises:
        TypeError: for x that is not float64.
        ValueError: for alpha or sigma of 0 at either level, and for a tolerance outside its range.
        ArithmeticError: where a prediction is not finite or the steps become too small.

    References:
        Hairer, Nørsett & Wanner, 1993, Sec. II.5 (from memory).
    """
    from scipy.integrate import solve_ivp

    if x.dtype != np.float64:
        raise TypeError(f"the reference flow is integrated in float64, got {x.dtype}: work under jax.enable_x64(True)")
    checks.in_range("tolerance", tolerance, 1e-12, 1.0)
    for name, end in (("level", level), ("cleaner", cleaner)):
        checks.in_range(f"{name}.alpha", end.alpha, 0.0, math.inf, open_low=True, open_high=True)
        checks.in_range(f"{name}.sigma", end.sigma, 0.0, math.inf, open_low=True, open_high=True)
    first, last = (math.log(float(end.alpha) / float(end.sigma)) for end in (level, cleaner))
    before, after = (math.hypot(float(end.alpha), float(end.sigma)) for end in (level, cleaner))
    like, start = jnp.asarray(x), np.asarray(x).reshape(-1) / before

    def slope(half_log_snr: float, w: np.ndarray) -> np.ndarray:
        result = np.asarray(_slope(denoise, w.reshape(like.shape), half_log_snr)).reshape(-1)
        if not np.all(np.isfinite(result)):  # or SciPy would look for a smaller step for ever
            raise ArithmeticError(f"the flow is not finite at log alpha / sigma = {half_log_snr:g}")
        return result

    # none of some hundred calls uses a key, and where keys are watched each would be a slow one
    with jax.debug_key_reuse(False):
        # errors add up
        result = solve_ivp(slope, (first, last), start, method="DOP853", rtol=tolerance / 20, atol=tolerance / 20)
    if not result.success:
        raise ArithmeticError(f"the reference flow stops at log alpha / sigma = {result.t[-1]:g}: {result.message}")
    return jnp.asarray(after * result.y[:, -1].reshape(like.shape))


@records.record
class Mixture:
    """A Gaussian mixture, as a Denoiser.

    Args:
        weights: (k,) adding up to 1.
        means: (k, *shape).
        stds: (k,) >= 0, of isotropic components.
    """

    weights: ArrayLike
    means: ArrayLike
    stds: ArrayLike
    flow = integrated_flow

    def __call__(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Prediction:
        """Average the predictions of the components, each weighted by its posterior probability."""
        alpha, sigma, offset, variance = self._centred(x, level)
        share = jax.nn.softmax(self._log_joint(offset, variance), axis=1)[:, :, None]
        std = jnp.asarray(self.stds, x.dtype)[None, :, None]
        means = jnp.asarray(self.means, x.dtype).reshape(1, offset.shape[1], -1)
        clean = jnp.sum(share * (means + arrays.safe_divide(alpha * std**2, variance) * offset), axis=1)
        noise = jnp.sum(share * arrays.safe_divide(sigma, variance) * offset, axis=1)
        return Prediction(clean.reshape(x.shape), noise.reshape(x.shape))

    def log_density(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b"]:
        """Compute log p(x) (b,) of the noised mixture, in nats."""
        _, _, offset, variance = self._centred(x, level)
        return jax.nn.logsumexp(self._log_joint(offset, variance), axis=1)

    def score(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
        """Compute the gradient of `log_density` in closed form."""
        _, _, offset, variance = self._centred(x, level)
        share = jax.nn.softmax(self._log_joint(offset, variance), axis=1)[:, :, None]
        return -jnp.sum(share * offset / variance, axis=1).reshape(x.shape)

    def draw(self, key: jax.Array, count: int) -> Float[Array, "b *shape"]:
        """Draw `count` clean samples."""
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
        variance = jnp.where(variance > 0, variance, POINT)  # a point mass at sigma = 0
        weights = jnp.log(jnp.asarray(self.weights, offset.dtype))[None, :]
        return weights - jnp.sum(offset**2 / variance, axis=2) / 2 - size / 2 * jnp.log(2 * jnp.pi * variance[:, :, 0])


@records.record
class Empirical:
    """A point mass at each row of some data, as a Denoiser.

    For b samples and rows of d entries it holds n (b + d) numbers.

    Args:
        data: (n, *shape). A row that stands there twice weighs twice.
    """

    data: ArrayLike
    flow = integrated_flow

    def __call__(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Prediction:
        """Predict the mean of the rows under softmax_i(−|x − alpha x_i|² / 2 sigma²): the nearest row at sigma = 0."""
        flat = arrays.flatten_samples(x)
        alpha, sigma = arrays.expand(level.alpha, flat), arrays.expand(level.sigma, flat)
        rows = arrays.flatten_samples(jnp.asarray(self.data, flat.dtype))
        mean = jnp.mean(rows, axis=0, keepdims=True)
        rows = rows - mean  # products of small numbers keep the digits by which near rows differ
        exact = jax.lax.Precision.HIGHEST
        products = jnp.einsum("bd,nd->bn", flat - alpha * mean, rows, precision=exact)
        nearness = alpha * (products - alpha * jnp.sum(rows**2, axis=1)[None] / 2)
        # over less, exp could be infinite
        rounding = 8 * jnp.finfo(flat.dtype).eps * jnp.max(jnp.abs(nearness), axis=1, keepdims=True)
        share = jax.nn.softmax(nearness / jnp.maximum(sigma**2, jax.lax.stop_gradient(rounding) + POINT), axis=1)
        clean = mean + jnp.einsum("bn,nd->bd", share, rows, precision=exact)
        noise = arrays.safe_divide(flat - alpha * clean, sigma)
        return Prediction(clean.reshape(x.shape), noise.reshape(x.shape))

    def draw(self, key: jax.Array, count: int) -> Float[Array, "b *shape"]:
        """Draw `count` rows, with replacement."""
        data = jnp.asarray(self.data)
        return data[jax.random.randint(key, (count,), 0, data.shape[0])]


def gaussian(std: Scalar, mean: Scalar = 0.0) -> Gaussian:
    """Build isotropic Gaussian data.

    Args:
        std: () or (b,), >= 0; 0 is a point mass.
        mean: () or (b,).

    Raises:
        ValueError: for a concrete negative or infinite std.
    """
    checks.in_range("std", std, 0.0, math.inf, open_high=True)
    return Gaussian(std, mean)


def correlated(mean: npt.ArrayLike, covariance: npt.ArrayLike) -> CorrelatedGaussian:
    """Build Gaussian data of any covariance.

    Args:
        mean: (*shape), of d entries.
        covariance: (d, d) over the flattened entries, symmetric, of any rank.

    Raises:
        ValueError: for shapes that do not agree and for a matrix that is no covariance.
    """
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if mean.ndim < 1 or covariance.shape != (mean.size, mean.size):
        raise ValueError(f"covariance must be (d, d) for a mean of d entries, got {covariance.shape} and {mean.shape}")
    checks.finite("covariance", covariance)
    if not np.allclose(covariance, covariance.T, rtol=1e-9, atol=1e-12):
        raise ValueError("covariance must be symmetric")
    variances, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    rounding = 1e-12 * max(1.0, float(np.abs(variances).max()))
    smallest = float(np.min(variances))
    if not smallest >= -rounding:  # a NaN too
        raise ValueError(f"covariance must have no negative variance along any axis, got {smallest:g}")
    return CorrelatedGaussian(
        jnp.asarray(mean), jnp.asarray(axes), jnp.asarray(np.where(variances > rounding, variances, 0.0))
    )


def mixture(weights: npt.ArrayLike, means: npt.ArrayLike, stds: npt.ArrayLike) -> Mixture:
    """Build a mixture of isotropic Gaussians.

    Args:
        weights: (k,) in [0, 1], adding up to 1.
        means: (k, *shape).
        stds: (k,) >= 0; 0 is a point mass.

    Raises:
        ValueError: for shapes that do not agree and numbers outside these ranges.
    """
    weights, means, stds = (np.asarray(value, np.float64) for value in (weights, means, stds))
    if weights.ndim != 1 or stds.shape != weights.shape or means.ndim < 2 or means.shape[0] != weights.size:
        raise ValueError(
            f"a mixture needs weights (k,), means (k, *shape) and stds (k,), got {weights.shape}, {means.shape}, "
            f"{stds.shape}"
        )
    checks.in_range("weights", weights, 0.0, 1.0)
    checks.in_range("stds", stds, 0.0, math.inf, open_high=True)
    if not math.isclose(weights.sum(), 1.0, abs_tol=1e-6):
        raise ValueError(f"weights add up to {weights.sum():g}, not 1")
    return Mixture(jnp.asarray(weights), jnp.asarray(means), jnp.asarray(stds))


def empirical(data: ArrayLike) -> Empirical:
    """Build the exact memoriser of some data: it has the least loss of all denoisers, and its samples are the data.

    Also known as: the empirical denoiser.

    Args:
        data: (n, *shape) floating, such as all pictures of a training.

    Raises:
        TypeError: for whole numbers.
        ValueError: for no rows, rows without an axis, and entries that are not finite.

    References:
        Karras et al., 2022, Eq. 57 (from memory).
    """
    checks.floating("data", data)
    if np.ndim(data) < 2 or np.size(data) == 0:
        raise ValueError(f"data must be (n, *shape) with at least one row, got {np.shape(data)}")
    checks.finite("data", data)
    return Empirical(jnp.asarray(data))


def ring(count: int, radius: float = 1.0, std: float = 0.0) -> Mixture:
    """Build equal components evenly spaced on a circle in the plane, with samples (2,).

    Args:
        count: how many, >= 1.
        radius: of the circle, >= 0.
        std: of each component, >= 0. Of point masses (0) the clean prediction is their posterior mean, at sigma = 0 the
            nearest point.

    Raises:
        ValueError: for numbers outside these ranges.
    """
    checks.integer("count", count, 1)
    checks.in_range("radius", radius, 0.0, math.inf, open_high=True)
    angle = 2 * np.pi * np.arange(count) / count
    return mixture(
        np.full(count, 1 / count), radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full(count, std)
    )


def draw_noised(oracle: Oracle, key: jax.Array, level: Level, count: int) -> Float[Array, "b *shape"]:
    """Draw points of an oracle's marginal.

    Args:
        oracle: whose `draw` gives the shape and the dtype.
        key: one typed key.
        level: () where on the noise path.
        count: how many points.
    """
    clean_key, noise_key = jax.random.split(key)
    clean = oracle.draw(clean_key, count)
    x: Array = level.alpha * clean + level.sigma * jax.random.normal(noise_key, clean.shape, clean.dtype)
    return x


@jax.jit
def _slope(denoise: Denoiser, w: Array, half_log_snr: Array) -> Array:
    """Of x / sqrt(alpha² + sigma²) by half the log-SNR."""
    alpha, sigma = jnp.sqrt(jax.nn.sigmoid(2 * half_log_snr)), jnp.sqrt(jax.nn.sigmoid(-2 * half_log_snr))
    prediction = denoise(w, Level(half_log_snr, alpha, sigma))
    return alpha * sigma * (sigma * prediction.clean - alpha * prediction.noise)
