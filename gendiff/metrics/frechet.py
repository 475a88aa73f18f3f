"""Fréchet distance between two sets of features, as in the Fréchet inception distance (FID).

Each set is summarised as a Gaussian (Heusel et al., 2017, Eq. 6; Dowson & Landau, 1982).

d² = |m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁S₂)^½). With S = FᵀF the last trace is the nuclear norm of F₁F₂ᵀ, which needs no
matrix square root and loses nothing when S is rank deficient: taking roots of eigenvalues that rounding made out of
zeros would cost half of the digits.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.renamed import renamed
from gendiff.core.types import ArrayLike
from gendiff.metrics import subsampling, validation


@dataclass(frozen=True)
class FittedGaussian:
    """The Gaussian of one set of features, as the distance needs it.

    Args:
        mean: (d,).
        factor: (k, d) of the covariance, which is factorᵀ factor.
    """

    mean: np.ndarray
    factor: np.ndarray


@dataclass(frozen=True)
class Running:
    """A running summary of rows: all that a mean and a covariance need.

    Its memory does not grow with the number of rows.

    Args:
        count: how many rows, >= 1.
        mean: (d,) of them.
        factor: (k, d) of their scatter about that mean, which is factorᵀ factor; k is at most 2 d.
    """

    count: int
    mean: np.ndarray
    factor: np.ndarray


def frechet_distance(
    features: FittedGaussian | Shaped[ArrayLike, "n d"], other: FittedGaussian | Shaped[ArrayLike, "m _"]
) -> float:
    """Measure the squared Fréchet (2-Wasserstein) distance of two Gaussians, >= 0.

    Also known as: FID, the Fréchet inception distance, where features are Inception's.

    Of rows it is the distance of their means and unbiased covariances. It is biased upwards by about d / n: compare
    only values of equal sample sizes. Fewer rows than features are allowed: a covariance of deficient rank is exact
    here, but the bias is then most of the value, so a floor from real data of the same size belongs beside it.

    Args:
        features: (n, d), n >= 2, or their Gaussian, as `fit` gives it.
        other: likewise.

    Raises:
        ValueError: for fewer than 2 rows, different numbers of features, and features that are not finite.

    References:
        Heusel et al., 2017, Eq. 6 (from memory); Dowson & Landau, 1982.
    """
    first, second = (
        side if isinstance(side, FittedGaussian) else fit(validation.as_features(name, side))
        for name, side in (("features", features), ("other", other))
    )
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"features has {first.mean.size} features per row but other has {second.mean.size}: they must be equal"
        )
    shift = first.mean - second.mean
    overlap = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    value = shift @ shift + np.sum(first.factor**2) + np.sum(second.factor**2) - 2 * overlap
    return max(float(value), 0.0)  # rounding can push equal Gaussians below zero


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
        ValueError: when `other` has fewer than `size` rows, and as `frechet_distance` does.
    """
    all_rows, pool = validation.as_feature_pair("real", real, "other", other)
    reference = fit(all_rows)
    return np.array(
        [
            frechet_distance(reference, fit(rows))
            for rows in subsampling.subsets("other", pool, count=count, size=size, seed=seed)
        ]
    )


def fit(features: Shaped[ArrayLike, "n d"]) -> FittedGaussian:
    """Fit mean and unbiased covariance of the rows (n, d), the factor by QR, without ever forming the covariance."""
    return finish(update(None, validation.as_features("features", features)))


def update(state: Running | None, features: Shaped[ArrayLike, "n d"]) -> Running:
    """Add rows to those seen so far, as `merge` does.

    Batches of any size cost about the same per row, 4 d² multiplications, since rows wait until there are more than 2 d
    of them.

    Args:
        state: what the rows before amount to, or None to begin.
        features: (n, d), n >= 1.

    Raises:
        ValueError: for another number of features than before, and features that are not finite.
    """
    rows = validation.as_features("features", features, at_least=1)
    mean = rows.mean(axis=0)
    deviations = rows - mean
    fresh = Running(len(rows), mean, _short(deviations))
    return fresh if state is None else merge(state, fresh)


def merge(first: Running, second: Running) -> Running:
    """Join what two sets of rows amount to, in any order and any grouping, to rounding.

    The scatter of both is the sum of the two and of n m / (n + m) δδᵀ, with δ the difference of the means. Here their
    factors are stacked, and reduced by QR when there are more than 2 d rows. So no covariance is formed, and a singular
    one loses no digits.

    Args:
        first: of n rows.
        second: of m rows with as many features.

    Raises:
        ValueError: for different numbers of features.

    References:
        Chan, Golub & LeVeque, 1979, Eq. 2.1 (from memory), here for its square root.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"rows of {len(first.mean)} features cannot be joined with rows of {len(second.mean)}: they must be equal"
        )
    count, shift = first.count + second.count, second.mean - first.mean
    between_means = np.sqrt(first.count / count * second.count) * shift[None]
    stacked = np.concatenate([first.factor, second.factor, between_means])
    return Running(count, first.mean + second.count / count * shift, _short(stacked))


def finish(state: Running) -> FittedGaussian:
    """Return the mean and the unbiased covariance of the rows seen so far.

    Raises:
        ValueError: for fewer than 2 rows.
    """
    if state.count < 2:
        raise ValueError(f"a covariance needs at least 2 rows, and {state.count} were seen")
    factor = state.factor if len(state.factor) == len(state.mean) else np.linalg.qr(state.factor, mode="r")
    return FittedGaussian(state.mean, factor / np.sqrt(state.count - 1))


def from_moments(mean: Shaped[ArrayLike, "d"], covariance: Shaped[ArrayLike, "d d"]) -> FittedGaussian:
    """Build the Gaussian of a known mean (d,) and covariance (d, d), singular ones included.

    Raises:
        ValueError: unless the covariance is symmetric and has no negative eigenvalue beyond the rounding of its dtype.
    """
    stored = np.asarray(covariance)
    centre, matrix = np.asarray(mean, dtype=np.float64), stored.astype(np.float64)
    checks.finite("mean", centre)
    checks.finite("covariance", matrix)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    rounding = len(matrix) * np.finfo(np.float64).eps * np.max(np.abs(values))
    stored_rounding = rounding * (
        np.finfo(stored.dtype).eps / np.finfo(np.float64).eps if stored.dtype == np.float32 else 1.0
    )
    if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=stored_rounding) or np.min(values) < -100 * stored_rounding:
        raise ValueError(f"covariance must be symmetric with no negative eigenvalue, its least is {np.min(values):g}")
    clipped = np.where(values > rounding, values, 0.0)  # what rounding left of a zero would come back as its root
    return FittedGaussian(centre, np.sqrt(clipped)[:, None] * vectors.T)


def _short(factor: np.ndarray) -> np.ndarray:
    """The factor, or where it has many rows the triangle with the same scatter."""
    return factor if len(factor) <= 2 * factor.shape[1] else np.linalg.qr(factor, mode="r")


_NAME = "metrics.frechet.frechet_distance"
__getattr__ = renamed("metrics.frechet", {"between": (_NAME, frechet_distance), "distance": (_NAME, frechet_distance)})
