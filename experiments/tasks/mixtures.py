"""Points in the plane from equally likely Gaussians, on a ring or a grid: the data on which modes are counted, with
their exact law.

Two settings are published for each. Those of PacGAN are the defaults of `ring` and `grid`. Those of improved WGAN
training divide both data sets by their standard deviation: `unit_ring` and `unit_grid`. A draw is a pure function of
its key: the batch of a step is `draw(jax.random.fold_in(key, step), batch)`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Float64, Shaped

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike


@records.record
class EqualGaussians:
    """Equally likely isotropic Gaussians of one standard deviation. `ring` and `grid` build some.

    Args:
        centres: (k, d) float64.
        std: along each axis, > 0.
    """

    centres: np.ndarray
    std: float

    def draw(self, key: jax.Array, count: int) -> Float[Array, "n d"]:
        """Draw `count` independent points, in JAX's default float type; under `jit` too."""
        which_key, noise_key = jax.random.split(key)
        centres = jnp.asarray(self.centres)
        which = jax.random.randint(which_key, (count,), 0, centres.shape[0])
        noise = jax.random.normal(noise_key, (count, centres.shape[1]), centres.dtype)
        return centres[which] + self.std * noise

    def log_density(self, x: Shaped[ArrayLike, "n d"]) -> Float64[np.ndarray, "n"]:
        """Compute the exact log density at points (n, d), in nats."""
        count, size = self.centres.shape
        squares = scipy.spatial.distance.cdist(np.asarray(x, np.float64), self.centres, "sqeuclidean")
        log_scale = math.log(count) + size / 2 * math.log(2 * math.pi * self.std**2)
        return scipy.special.logsumexp(-squares / (2 * self.std**2), axis=1) - log_scale

    def covariance(self) -> Float64[np.ndarray, "d d"]:
        """Compute the exact covariance (d, d) of all points."""
        return np.cov(self.centres, rowvar=False, ddof=0).reshape(2 * self.centres.shape[1:]) + self.std**2 * np.eye(
            self.centres.shape[1]
        )

    def good_share(self, good: int | float = 3.0) -> float:
        """Compute the exact share of points within `good` standard deviations of their own centre: 1 - exp(-good² / 2)
        in the plane.
        """
        checks.in_range("good", good, 0.0, math.inf)
        return float(scipy.special.gammainc(self.centres.shape[1] / 2, good**2 / 2))  # the distribution function of chi

    def scaled(self, factor: int | float) -> "EqualGaussians":
        """Multiply all points by a factor > 0."""
        checks.in_range("factor", factor, 0.0, math.inf, open_low=True, open_high=True)
        return EqualGaussians(factor * self.centres, factor * self.std)


def ring(count: int = 8, *, radius: int | float = 1.0, std: int | float = 0.01) -> EqualGaussians:
    """Place modes evenly on a circle, the first at angle 0.

    Args:
        count: how many modes, >= 1.
        radius: of the circle, > 0.
        std: of each mode, > 0.

    Raises:
        ValueError: for numbers out of range.

    References:
        Lin et al., 2018, section 4.1: the defaults are those of its code.
    """
    checks.integer("count", count, 1)
    _check_sizes("radius", radius, std)
    angle = 2 * np.pi * np.arange(count) / count
    return EqualGaussians(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), float(std))


def grid(side: int = 5, *, spacing: int | float = 2.0, std: int | float = 0.05) -> EqualGaussians:
    """Place side × side modes on a square grid about the origin, row by row.

    Args:
        side: modes along an edge, >= 1.
        spacing: between neighbours, > 0.
        std: of each mode, > 0.

    Raises:
        ValueError: for numbers out of range.

    References:
        Lin et al., 2018, section 4.1: the defaults are those of its code, with centres -4, -2, … 4.
    """
    checks.integer("side", side, 1)
    _check_sizes("spacing", spacing, std)
    line = spacing * (np.arange(side) - (side - 1) / 2)
    return EqualGaussians(np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2), float(std))


def unit_ring() -> EqualGaussians:
    """Build the ring of improved WGAN training: 8 modes, radius 2 and standard deviation 0.02, both over 1.414.

    References:
        Gulrajani et al., 2017, `gan_toy.py` of its code.
    """
    return ring(8, radius=2.0, std=0.02).scaled(1 / 1.414)


def unit_grid() -> EqualGaussians:
    """Build the grid of improved WGAN training: 5 × 5 modes, spacing 2 and standard deviation 0.05, both over 2.828.

    References:
        Gulrajani et al., 2017, `gan_toy.py` of its code.
    """
    return grid(5, spacing=2.0, std=0.05).scaled(1 / 2.828)


def _check_sizes(name: str, size: int | float, std: int | float) -> None:
    checks.in_range(name, size, 0.0, math.inf, open_low=True, open_high=True)
    checks.in_range("std", std, 0.0, math.inf, open_low=True, open_high=True)
