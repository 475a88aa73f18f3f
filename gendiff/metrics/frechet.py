"""Fréchet distance between two sets of features, each summarised as a Gaussian (Heusel et al., 2017, Eq. 6; Dowson & Landau, 1982).

d² = |m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁S₂)^½). With S = FᵀF the last trace is the nuclear norm of F₁F₂ᵀ, which needs no matrix square root
and loses nothing when S is rank deficient: taking roots of eigenvalues that rounding made out of zeros would cost half of the digits.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import subsampling as draw
from gendiff.metrics import validation


@dataclass(frozen=True)
class Gaussian:
    """mean (d,) and a factor (k, d) of the covariance: covariance = factorᵀ factor."""

    mean: np.ndarray
    factor: np.ndarray


def distance(features: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"]) -> float:
    """The (squared) Fréchet distance of the two sets' means and unbiased covariances, >= 0.

    It is biased upwards by about d / n: compare only values of equal sample sizes. Raises ValueError for fewer than 2 rows, different
    numbers of features, and features that are not finite.
    """
    first, second = validation.pair("features", features, "other", other)
    return between(fit(first), fit(second))


def over_draws(
    real: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"], *, draws: int = 20, size: int = 1000, seed: int
) -> Float64[np.ndarray, "draws"]:
    """The distance from the whole of `real` to each of `draws` draws of `size` rows of `other`, without replacement within a draw.

    Measured so, the floor (other = training data, real = held-out data) and the samples have the same bias. Raises ValueError when
    `other` has fewer than `size` rows, and as `distance` does.
    """
    whole, pool = validation.pair("real", real, "other", other)
    reference = fit(whole)
    return np.array([between(reference, fit(drawn)) for drawn in draw.of("other", pool, draws=draws, size=size, seed=seed)])


def between(first: Gaussian, second: Gaussian) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two Gaussians."""
    shift = first.mean - second.mean
    overlap = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    value = shift @ shift + np.sum(first.factor**2) + np.sum(second.factor**2) - 2 * overlap
    return max(float(value), 0.0)  # rounding can push equal Gaussians below zero


def fit(features: Shaped[ArrayLike, "n d"]) -> Gaussian:
    """Mean and unbiased covariance of the rows, the factor by QR, without ever forming the covariance."""
    sample = validation.features("features", features)
    mean = sample.mean(axis=0)
    return Gaussian(mean, np.linalg.qr(sample - mean, mode="r") / np.sqrt(len(sample) - 1))


def from_moments(mean: Shaped[ArrayLike, "d"], covariance: Shaped[ArrayLike, "d d"]) -> Gaussian:
    """The Gaussian of a known mean and covariance, singular ones included. Raises ValueError unless symmetric and non-negative."""
    centre, matrix = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    checks.finite("mean", centre)
    checks.finite("covariance", matrix)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    rounding = len(matrix) * np.finfo(np.float64).eps * np.max(np.abs(values))
    if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=rounding) or np.min(values) < -100 * rounding:
        raise ValueError(f"covariance must be symmetric with no negative eigenvalue, its least is {np.min(values):g}")
    kept = np.where(values > rounding, values, 0.0)  # what rounding left of a zero would come back as its root
    return Gaussian(centre, np.sqrt(kept)[:, None] * vectors.T)
