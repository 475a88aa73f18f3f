"""EDM's preconditioning with the boundary condition of consistency models: at the least noise it returns x itself."""

import math

import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import arrays, checks, records
from gendiff.diffusion.parameterization import EdmParameterization, Parameterization

ROUNDING = 1e-5
"""How far above the boundary, relatively, a level still counts as on it."""


@records.record
class BoundaryParameterization(EdmParameterization):
    """F is what clean lacks beyond the boundary. Built by `boundary`."""

    sigma_min: float = records.static()

    def _excess(self, alpha: Array, sigma: Array) -> Array:
        least = alpha * self.sigma_min
        return jnp.where(sigma > least * (1 + ROUNDING), sigma - least, 0.0)

    def _clean(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        spread, excess = alpha * self.data_std, self._excess(alpha, sigma)
        skip = spread * self.data_std / (excess**2 + spread**2)  # exactly 1 for alpha = 1 on the boundary
        return skip * x + excess * self.data_std / jnp.sqrt(self._norm(alpha, sigma)) * output

    def _noise(self, x: Array, output: Array, alpha: Array, sigma: Array) -> Array:
        spread, excess = alpha * self.data_std, self._excess(alpha, sigma)
        left = excess / (excess**2 + spread**2) * x - spread / jnp.sqrt(self._norm(alpha, sigma)) * output
        return arrays.safe_divide(excess, sigma) * left

    def _target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        spread, excess = alpha * self.data_std, self._excess(alpha, sigma)
        lacking = (excess**2 * clean - spread * self.data_std * sigma * noise) / (excess**2 + spread**2)
        return arrays.safe_divide(jnp.sqrt(self._norm(alpha, sigma)) * lacking, self.data_std * excess)

    def _gain(self, alpha: Array, sigma: Array) -> Array:
        return self._norm(alpha, sigma) / (self._excess(alpha, sigma) * self.data_std) ** 2


def boundary(data_std: float = 0.5, sigma_min: float = 0.002) -> Parameterization:
    """EDM's preconditioning, with clean = x / alpha at sigma / alpha = `sigma_min` and below for any network output.

    Also known as: the boundary condition of consistency models; c_skip and c_out.

    With d = max(sigma - alpha sigma_min, 0), s the std of the data and m = sigma² + alpha² s²,
    clean = alpha s² x / (d² + alpha² s²) + d s F / √m. It is `parameterization.edm` for sigma_min = 0.

    Args:
        data_std: s, above 0.
        sigma_min: the ratio sigma / alpha at the cleanest level of the schedule, at least 0: 0.002 for
            `schedules.edm()`. A schedule that begins at sigma = 0, such as `schedules.flow()`, needs none: there
            `velocity`, `flow` and `edm` answer x themselves.

    References:
        Song et al., 2023, App. C (from memory), for any alpha.
    """
    checks.in_range("data_std", data_std, 0.0, math.inf, open_low=True, open_high=True)
    checks.in_range("sigma_min", sigma_min, 0.0, math.inf, open_high=True)
    return BoundaryParameterization(float(data_std), float(sigma_min))
