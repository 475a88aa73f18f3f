"""A power law through points: the regression line of their logs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class PowerLaw:
    """y = coefficient · x^exponent.

    Args:
        coefficient: > 0.
        exponent: of x.
        r_squared: share of the variance of log y that the line explains; 1 where it passes through every point.
    """

    coefficient: float
    exponent: float
    r_squared: float


def fit_power_law(x: Float64[np.ndarray, "n"], y: Float64[np.ndarray, "n"]) -> PowerLaw:
    """Regress log y on log x by least squares.

    Args:
        x: (n,) > 0, at least 2 different values.
        y: (n,) > 0.

    Raises:
        ValueError: for fewer than 2 different x, and numbers that are not finite and above 0.
    """
    if not (np.all(np.isfinite(x) & (x > 0)) and np.all(np.isfinite(y) & (y > 0))):
        raise ValueError("x and y must be finite and above 0, to have logs")
    if len(np.unique(x)) < 2:
        raise ValueError("a power law needs at least 2 different x")
    across, up = np.log(x) - np.log(x).mean(), np.log(y) - np.log(y).mean()
    exponent = across @ up / (across @ across)
    left = up - exponent * across
    total = up @ up
    r_squared = 1 - left @ left / total if total > 0 else 1.0
    return PowerLaw(float(np.exp(np.log(y).mean() - exponent * np.log(x).mean())), float(exponent), float(r_squared))
