"""Fréchet distance between two sets of features, each summarised as a Gaussian (Heusel et al., 2017, Eq. 6; Dowson & Landau, 1982).

d² = |m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁S₂)^½). With S = FᵀF the last trace is the nuclear norm of F₁F₂ᵀ, which needs no matrix square root
and loses nothing when S is rank deficient: taking roots of eigenvalues that rounding made out of zeros would cost half of the digits.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import subsampling, validation


@dataclass(frozen=True)
class FittedGaussian:
    """What the distance needs of one set of features.

    Args:
        mean: (d,).
        factor: (k, d) of the covariance, which is factorᵀ factor.
    """

    mean: np.ndarray
    factor: np.ndarray


def distance(features: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"]) -> float:
    """Measure the (squared) Fréchet distance of the two sets' means and unbiased covariances, >= 0.

    It is biased upwards by about d / n: compare only values of equal sample sizes.

    Args:
        features: (n, d), n >= 2.
        other: (m, d), m >= 2.

    Raises:
        ValueError: for fewer than 2 rows, different numbers of features, and features that are not finite.

    References:
        Heusel et al., 2017, Eq. 6 (from memory); Dowson & Landau, 1982.
    """
    first, second = validation.as_feature_pair("features", features, "other", other)
    return between(fit(first), fit(second))


def over_subsets(
    real: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"], *, count: int = 20, size: int = 1000, seed: int
) -> Float64[np.ndarray, "count"]:
    """Measure the distance from the whole of `real` to each of `count` random subsets of `other`.

    The floor (other = training data, real = held-out data) and the samples then have the same bias.

    Args:
        real: (n, d).
        other: (m, d).
        count: how many subsets.
        size: rows per subset, at most m, without replacement within a subset.
        seed: decides which rows are drawn.

    Raises:
        ValueError: when `other` has fewer than `size` rows, and as `distance` does.
    """
    whole, pool = validation.as_feature_pair("real", real, "other", other)
    reference = fit(whole)
    return np.array([between(reference, fit(rows)) for rows in subsampling.subsets("other", pool, count=count, size=size, seed=seed)])


def between(first: FittedGaussian, second: FittedGaussian) -> float:
    """Compute the squared Fréchet (2-Wasserstein) distance of two Gaussians."""
    shift = first.mean - second.mean
    overlap = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    value = shift @ shift + np.sum(first.factor**2) + np.sum(second.factor**2) - 2 * overlap
    return max(float(value), 0.0)  # rounding can push equal Gaussians below zero


def fit(features: Shaped[ArrayLike, "n d"]) -> FittedGaussian:
    """Fit mean and unbiased covariance of the rows (n, d), the factor by QR, without ever forming the covariance."""
    sample = validation.as_features("features", features)
    mean = sample.mean(axis=0)
    return FittedGaussian(mean, np.linalg.qr(sample - mean, mode="r") / np.sqrt(len(sample) - 1))


def from_moments(mean: Shaped[ArrayLike, "d"], covariance: Shaped[ArrayLike, "d d"]) -> FittedGaussian:
    """Build the Gaussian of a known mean (d,) and covariance (d, d), singular ones included.

    Raises:
        ValueError: unless the covariance is symmetric and has no negative eigenvalue.
    """
    centre, matrix = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    checks.finite("mean", centre)
    checks.finite("covariance", matrix)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    rounding = len(matrix) * np.finfo(np.float64).eps * np.max(np.abs(values))
    if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=rounding) or np.min(values) < -100 * rounding:
        raise ValueError(f"covariance must be symmetric with no negative eigenvalue, its least is {np.min(values):g}")
    kept = np.where(values > rounding, values, 0.0)  # what rounding left of a zero would come back as its root
    return FittedGaussian(centre, np.sqrt(kept)[:, None] * vectors.T)
