"""What a network's output means.

Each parameterization is a record class of formulas in alpha and sigma, with no case per process.

With n = alpha² + sigma², s the std of the data, m = sigma² + alpha² s², from x and the output F:

| name | F is | clean | noise |
|---|---|---|---|
| noise | noise | (x - sigma F) / alpha | F |
| clean | clean | F, x / alpha at sigma = 0 | (x - alpha F) / sigma, 0 at sigma = 0 |
| velocity | alpha noise - sigma clean | (alpha x - sigma F) / n | (sigma x + alpha F) / n |
| flow | noise - clean | (x - sigma F) / (alpha + sigma) | (x + alpha F) / (alpha + sigma) |
| edm | (sigma clean - alpha s² noise) / (s √m) | alpha s² x / m + sigma s F / √m | sigma x / m - alpha s F / √m |

Only `noise` divides by alpha, and is infinite where nothing of the clean sample is left; the others are finite at both
ends.
"""

import abc
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike
from gendiff.diffusion.types import Level, Prediction


@records.record
class Parameterization(abc.ABC):
    """What all of them share: callers pass arrays and a level, and each class below states its formulas.

    A formula gets arrays that broadcast against each other: x or clean, noise or the network's output, alpha, sigma.
    """

    divides_by_alpha: ClassVar[bool] = False
    """Whether the clean sample is lost where alpha is 0."""

    def scale_in(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
        """What the network is shown of x: x itself, except for EDM, which scales it to unit variance."""
        return jnp.asarray(x)

    def target(
        self, clean: Float[ArrayLike, "b *shape"], noise: Float[ArrayLike, "..."], level: Level
    ) -> Float[Array, "..."]:
        """What the network should answer at this level."""
        checks.same_shape("clean", clean, "noise", noise)
        clean, noise = jnp.asarray(clean), jnp.asarray(noise)
        return self._target(clean, noise, arrays.expand(level.alpha, clean), arrays.expand(level.sigma, clean))

    def predict(
        self, x: Float[ArrayLike, "b *shape"], output: Float[ArrayLike, "b *shape"], level: Level
    ) -> Prediction:
        """The network's output in both forms, in x's dtype."""
        checks.same_shape("x", x, "output", output)
        x = jnp.asarray(x)
        alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
        answer = jnp.asarray(output).astype(x.dtype)
        return Prediction(self._clean(x, answer, alpha, sigma), self._noise(x, answer, alpha, sigma))

    def gain(self, level: Level) -> Array:
        """|target error|² / |clean error|² at x fixed: SNR for noise, SNR + 1 for velocity when alpha² + sigma² = 1."""
        return self._gain(jnp.asarray(level.alpha), jnp.asarray(level.sigma))

    @abc.abstractmethod
    def _clean(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        """The clean sample."""

    @abc.abstractmethod
    def _noise(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        """The noise."""

    @abc.abstractmethod
    def _target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        """What the network should answer."""

    @abc.abstractmethod
    def _gain(self, alpha: Array, sigma: Array) -> Array:
        """|target error|² / |clean error|² at x fixed."""


def noise() -> Parameterization:
    """The network predicts the noise, epsilon. Needs sigma / alpha below about 200 everywhere.

    Also known as: epsilon-prediction (ε-prediction).

    References:
        Ho et al., 2020, Eq. 14.
    """
    return NoiseParameterization()


def clean() -> Parameterization:
    """The network predicts the clean sample, x_0.

    Also known as: x0-prediction (sample prediction).

    At sigma = 0 it is not heard: x itself is clean, and there is no noise.
    """
    return CleanParameterization()


def velocity() -> Parameterization:
    """The network predicts v = alpha noise - sigma clean. The default: finite everywhere.

    Also known as: v-prediction.

    References:
        Salimans & Ho, 2022, App. D.
    """
    return VelocityParameterization()


def flow() -> Parameterization:
    """The network predicts noise - clean, the velocity of the straight path.

    Also known as: flow matching; rectified flow.

    References:
        Liu et al., 2023, Eq. 1, run from noise to data.
    """
    return FlowParameterization()


def edm(data_std: float = 0.5) -> Parameterization:
    """Preconditioning for any alpha: network input and training target have unit variance at every level.

    Also known as: EDM preconditioning (c_skip, c_out, c_in, c_noise).

    Args:
        data_std: standard deviation of the data, above 0.

    References:
        Karras et al., 2022, Eq. 7 and Tab. 1.
    """
    checks.in_range("data_std", data_std, 0.0, float("inf"), open_low=True, open_high=True)
    return EdmParameterization(float(data_std))


@records.record
class NoiseParameterization(Parameterization):
    """F is the noise."""

    divides_by_alpha: ClassVar[bool] = True

    def _clean(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return (x - sigma * output) / alpha

    def _noise(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return output

    def _target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        return noise

    def _gain(self, alpha: Array, sigma: Array) -> Array:
        return (alpha / sigma) ** 2


@records.record
class CleanParameterization(Parameterization):
    """F is the clean sample."""

    def _clean(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return jnp.where(sigma > 0, output, arrays.safe_divide(x, alpha))

    def _noise(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return arrays.safe_divide(x - alpha * output, sigma)

    def _target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        return clean

    def _gain(self, alpha: Array, sigma: Array) -> Array:
        return jnp.ones_like(alpha)


@records.record
class VelocityParameterization(Parameterization):
    """F is alpha noise - sigma clean."""

    def _clean(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2)

    def _noise(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return (sigma * x + alpha * output) / (alpha**2 + sigma**2)

    def _target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        return alpha * noise - sigma * clean

    def _gain(self, alpha: Array, sigma: Array) -> Array:
        return ((alpha**2 + sigma**2) / sigma) ** 2


@records.record
class FlowParameterization(Parameterization):
    """F is noise - clean."""

    def _clean(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return (x - sigma * output) / (alpha + sigma)

    def _noise(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        return (x + alpha * output) / (alpha + sigma)

    def _target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        return noise - clean

    def _gain(self, alpha: Array, sigma: Array) -> Array:
        return ((alpha + sigma) / sigma) ** 2


@records.record
class EdmParameterization(Parameterization):
    """F is (sigma clean - alpha s² noise) / (s √m), for x / √m."""

    data_std: float = records.static()

    def scale_in(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
        """What the network is shown: x / √m, of unit variance."""
        return jnp.asarray(x) * (1 / jnp.sqrt(self._norm(arrays.expand(level.alpha, x), arrays.expand(level.sigma, x))))

    def _norm(self, alpha: Array, sigma: Array) -> Array:
        return sigma**2 + (alpha * self.data_std) ** 2

    def _clean(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        norm, std = self._norm(alpha, sigma), self.data_std
        return alpha * std**2 / norm * x + sigma * std / jnp.sqrt(norm) * output

    def _noise(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        norm, std = self._norm(alpha, sigma), self.data_std
        return sigma / norm * x - alpha * std / jnp.sqrt(norm) * output

    def _target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        norm, std = self._norm(alpha, sigma), self.data_std
        return (sigma * clean - alpha * std**2 * noise) / (std * jnp.sqrt(norm))

    def _gain(self, alpha: Array, sigma: Array) -> Array:
        return self._norm(alpha, sigma) / (sigma * self.data_std) ** 2
