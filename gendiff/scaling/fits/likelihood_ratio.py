"""Whether the runs of a sweep speak against one set of constants beside another."""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float64

from gendiff.core import checks
from gendiff.scaling.fits.data_points import Points
from gendiff.scaling.laws import Law

RESIDUALS = ("huber", "normal")


@dataclass(frozen=True)
class LikelihoodRatio:
    """The likelihood-ratio test of two laws.

    Args:
        statistic: twice the log of the ratio of both likelihoods, each at its own best scale; above 0 where the runs
            prefer the first law.
        degrees: of freedom of the χ² law to which the statistic is held.
        p: probability of so large a statistic where the second law is true.
    """

    statistic: float
    degrees: int
    p: float


def likelihood_ratio(
    table: Points, law: Law, other: Law, *, degrees: int = 5, residual: str = "huber", delta: int | float = 1e-3
) -> LikelihoodRatio:
    """Hold a fitted law against given constants.

    The residual is r = ln L - ln L(N, D), and its scale s is fitted for each law by itself. "normal" has the density of
    N(0, s²). "huber" has one proportional to exp(-Huber_δ(r / s)), as Besiroglu et al. use it; with their δ of 1e-3 it
    is nearly a Laplace density. p is right where `law` is the likeliest under that density:
    `fit_parametric(table, delta=math.inf)` is so for "normal". Another law, such as the minimum of the plain Huber
    objective, makes the statistic smaller and p larger.

    Args:
        table: of the sweep.
        law: fitted to it.
        other: the constants that are judged, which were not fitted to it.
        degrees: how many numbers were fitted in `law` and not in `other`, >= 1.
        residual: "huber" or "normal".
        delta: of the Huber loss, in units of s, > 0.

    Raises:
        ValueError: for unknown residuals and numbers out of range.

    References:
        Wilks, 1938 (from memory); Besiroglu et al., 2024, section 3.
    """
    checks.integer("degrees", degrees, 1)
    checks.choice("residual", residual, RESIDUALS)
    checks.in_range("delta", delta, 0.0, math.inf, open_low=True, open_high=True)
    kink = math.inf if residual == "normal" else float(delta)
    first, second = (
        log_likelihood(np.log(table.loss) - np.log(each.loss(table.parameters, table.tokens)), kink)
        for each in (law, other)
    )
    statistic = 2 * (first - second)
    return LikelihoodRatio(statistic, degrees, float(scipy.stats.chi2.sf(max(statistic, 0.0), degrees)))


def log_likelihood(residuals: Float64[np.ndarray, "n"], delta: int | float = 1e-3) -> float:
    """Maximise the log-likelihood of residuals over their scale.

    Args:
        residuals: (n,) of the log of the loss, not all 0.
        delta: of the Huber loss, in units of the scale, > 0; inf is the normal density.

    Raises:
        ValueError: where all residuals are 0, so that no scale is the best.
    """
    checks.in_range("delta", delta, 0.0, math.inf, open_low=True)
    spread = math.sqrt(np.mean(residuals**2))
    if spread == 0:
        raise ValueError("all residuals are 0: the likelihood has no greatest value")
    if math.isinf(delta):
        return -len(residuals) * (math.log(spread) + math.log(2 * math.pi) / 2 + 0.5)
    tails = 2 * math.exp(-(delta**2) / 2) / delta
    log_norm = math.log(math.sqrt(2 * math.pi) * math.erf(delta / math.sqrt(2)) + tails)

    def cost(log_scale: float) -> float:
        """Convex in the log of the scale."""
        shrunk = np.abs(residuals) / math.exp(log_scale)
        inside = np.minimum(shrunk, delta)
        return float((inside * (shrunk - inside / 2)).sum()) + len(residuals) * (log_scale + log_norm)

    low, high = math.log(min(delta, 1.0) * np.mean(np.abs(residuals))) - 3, math.log(spread) + 3
    return -float(
        scipy.optimize.minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).fun
    )
