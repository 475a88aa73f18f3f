"""What a network's output means. Each parameterization is a record of formulas in alpha and sigma, with no case per process.

With n = alpha² + sigma², s the std of the data, m = sigma² + alpha² s², from x and the output F:

| name | F is | clean | noise |
|---|---|---|---|
| noise | noise | (x - sigma F) / alpha | F |
| clean | clean | F | (x - alpha F) / sigma |
| velocity | alpha noise - sigma clean | (alpha x - sigma F) / n | (sigma x + alpha F) / n |
| flow | noise - clean | (x - sigma F) / (alpha + sigma) | (x + alpha F) / (alpha + sigma) |
| edm | (sigma clean - alpha s² noise) / (s √m) | alpha s² x / m + sigma s F / √m | sigma x / m - alpha s F / √m |

Only `noise` divides by alpha and only `clean` by sigma; the others are finite at both ends.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike
from gendiff.diffusion.types import Level, Prediction

Formula = Callable[..., jax.Array]


@records.record
class Parameterization:
    """Formulas of (…, alpha, sigma, *settings), wrapped so that callers pass arrays and a level."""

    name: str = records.static()
    clean_of: Formula = records.static()
    noise_of: Formula = records.static()
    target_of: Formula = records.static()
    gain_of: Formula = records.static()
    scale_of: Formula | None = records.static(default=None)
    settings: tuple[float, ...] = records.static(default=())
    divides_by_alpha: bool = records.static(default=False)

    def scale_in(self, x: Float[ArrayLike, "b *shape"], level: Level) -> Float[Array, "b *shape"]:
        """What the network is shown of x: x itself, except for EDM, which scales it to unit variance."""
        if self.scale_of is None:
            return jnp.asarray(x)
        return jnp.asarray(x) * self.scale_of(arrays.expand(level.alpha, x), arrays.expand(level.sigma, x), *self.settings)

    def target(self, clean: Float[ArrayLike, "b *shape"], noise: Float[ArrayLike, "..."], level: Level) -> Float[Array, "..."]:
        """What the network should answer at this level."""
        checks.same_shape("clean", clean, "noise", noise)
        clean, noise = jnp.asarray(clean), jnp.asarray(noise)
        return self.target_of(clean, noise, arrays.expand(level.alpha, clean), arrays.expand(level.sigma, clean), *self.settings)

    def predict(self, x: Float[ArrayLike, "b *shape"], output: Float[ArrayLike, "b *shape"], level: Level) -> Prediction:
        """The network's output in both forms, in x's dtype."""
        checks.same_shape("x", x, "output", output)
        x = jnp.asarray(x)
        alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
        answer = jnp.asarray(output).astype(x.dtype)
        return Prediction(self.clean_of(x, answer, alpha, sigma, *self.settings), self.noise_of(x, answer, alpha, sigma, *self.settings))

    def gain(self, level: Level) -> Array:
        """|target error|² / |clean error|² at x fixed: SNR for noise, SNR + 1 for velocity when alpha² + sigma² = 1."""
        return self.gain_of(jnp.asarray(level.alpha), jnp.asarray(level.sigma), *self.settings)


def noise() -> Parameterization:
    """The network answers the noise, epsilon (Ho et al., 2020, Eq. 14). Needs sigma / alpha below about 200 everywhere."""
    return Parameterization("noise", _noise_clean, _output, _second, _noise_gain, divides_by_alpha=True)


def clean() -> Parameterization:
    """The network answers the clean sample, x_0. Its noise is infinite at sigma = 0, which is never a level that a sampler leaves."""
    return Parameterization("clean", _output, _clean_noise, _first, _clean_gain)


def velocity() -> Parameterization:
    """The network answers v = alpha noise - sigma clean (Salimans & Ho, 2022, App. D). The default: finite everywhere."""
    return Parameterization("velocity", _velocity_clean, _velocity_noise, _velocity_target, _velocity_gain)


def flow() -> Parameterization:
    """The network answers noise - clean, the velocity of the straight path (Liu et al., 2023, Eq. 1, run from noise to data)."""
    return Parameterization("flow", _flow_clean, _flow_noise, _flow_target, _flow_gain)


def edm(data_std: float = 0.5) -> Parameterization:
    """Preconditioning for data of standard deviation `data_std` > 0 (Karras et al., 2022, Eq. 7 and Tab. 1), for any alpha.

    Network input and training target have unit variance at every level.
    """
    checks.in_range("data_std", data_std, 0.0, float("inf"), open_low=True, open_high=True)
    return Parameterization("edm", _edm_clean, _edm_noise, _edm_target, _edm_gain, _edm_scale, settings=(float(data_std),))


def _output(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return output


def _first(clean: jax.Array, noise: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return jnp.asarray(clean)


def _second(clean: jax.Array, noise: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return jnp.asarray(noise)


def _noise_clean(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return (x - sigma * output) / alpha


def _noise_gain(alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return (alpha / sigma) ** 2


def _clean_noise(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return (x - alpha * output) / sigma


def _clean_gain(alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return jnp.ones_like(alpha)


def _velocity_clean(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return (alpha * x - sigma * output) / (alpha**2 + sigma**2)


def _velocity_noise(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return (sigma * x + alpha * output) / (alpha**2 + sigma**2)


def _velocity_target(clean: jax.Array, noise: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return alpha * noise - sigma * clean


def _velocity_gain(alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return ((alpha**2 + sigma**2) / sigma) ** 2


def _flow_clean(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return (x - sigma * output) / (alpha + sigma)


def _flow_noise(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return (x + alpha * output) / (alpha + sigma)


def _flow_target(clean: jax.Array, noise: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return jnp.asarray(noise - clean)


def _flow_gain(alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    return ((alpha + sigma) / sigma) ** 2


def _edm_norm(alpha: jax.Array, sigma: jax.Array, std: float) -> jax.Array:
    return sigma**2 + (alpha * std) ** 2


def _edm_scale(alpha: jax.Array, sigma: jax.Array, std: float) -> jax.Array:
    return 1 / jnp.sqrt(_edm_norm(alpha, sigma, std))


def _edm_clean(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array, std: float) -> jax.Array:
    norm = _edm_norm(alpha, sigma, std)
    return alpha * std**2 / norm * x + sigma * std / jnp.sqrt(norm) * output


def _edm_noise(x: jax.Array, output: jax.Array, alpha: jax.Array, sigma: jax.Array, std: float) -> jax.Array:
    norm = _edm_norm(alpha, sigma, std)
    return sigma / norm * x - alpha * std / jnp.sqrt(norm) * output


def _edm_target(clean: jax.Array, noise: jax.Array, alpha: jax.Array, sigma: jax.Array, std: float) -> jax.Array:
    return (sigma * clean - alpha * std**2 * noise) / (std * jnp.sqrt(_edm_norm(alpha, sigma, std)))


def _edm_gain(alpha: jax.Array, sigma: jax.Array, std: float) -> jax.Array:
    return _edm_norm(alpha, sigma, std) / (sigma * std) ** 2
