"""Vendi score: the effective number of distinct items of a set, without a reference.

Friedman & Dieng, 2023, Def. 3.1.
"""

import math

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import subsampling, validation


def score(features: Shaped[ArrayLike, "n d"], *, order: int | float = 1.0) -> float:
    """Compute the Vendi score: exp of the entropy of the eigenvalues of K / n, K the cosines between rows.

    It is 1 for n equal rows and n for n orthogonal ones. It lies in [1, min(n, d)] and grows with n: compare only
    values of equal n.

    Args:
        features: (n, d). Cosines are of the rows as given: pixels of one sign are all alike, so centre them, or use
            other features.
        order: q >= 0 of the Rényi entropy, log(sum of eigenvalue^q) / (1 - q). 1 is Shannon's, inf counts the largest
            eigenvalue only, 0 the eigenvalues that are not 0. Large orders see common items, small ones rare items too.

    Raises:
        ValueError: for a row of zeros, which has no direction, an order below 0, and features that are not finite.

    References:
        Friedman & Dieng, 2023, Def. 3.1; Pasarkar & Dieng, 2024, Eq. 3 (both from memory).
    """
    checks.in_range("order", order, 0.0, math.inf)
    return _score(_directions(features), order)


def over_subsets(
    features: Shaped[ArrayLike, "n d"], *, order: int | float = 1.0, count: int = 20, size: int = 1000, seed: int
) -> Float64[np.ndarray, "count"]:
    """Apply `score` to each of `count` random subsets, so that sets of different n compare.

    Args:
        features: (n, d).
        order: as for `score`.
        count: how many subsets.
        size: rows per subset, at most n, without replacement within a subset.
        seed: decides which rows are drawn.

    Raises:
        ValueError: when there are fewer than `size` rows, and as `score` does.
    """
    checks.in_range("order", order, 0.0, math.inf)
    directions = _directions(features)
    return np.array(
        [_score(rows, order) for rows in subsampling.subsets("features", directions, count=count, size=size, seed=seed)]
    )


def _directions(features: ArrayLike) -> np.ndarray:
    rows = validation.as_features("features", features, at_least=1)
    longest = np.abs(rows).max(axis=1, keepdims=True)  # taken out first, so that squares neither overflow nor vanish
    if not longest.all():
        raise ValueError(
            f"features: {int((longest == 0).sum())} of {len(rows)} rows are all zeros and have no direction; centre "
            "them first"
        )
    scaled = rows / longest
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def _score(directions: np.ndarray, order: int | float) -> float:
    """From singular values, which are those of K / n squared: of the smaller side, and never negative."""
    singular = np.linalg.svd(directions, compute_uv=False)
    share = singular**2 / np.sum(singular**2)
    # a root of what is left of 0 would count as an item at order 0
    share = share[share > len(share) * np.finfo(np.float64).eps]
    if order == 1:
        return float(np.exp(-np.sum(share * np.log(share))))
    if math.isinf(order):
        return float(1 / share.max())
    largest = share.max()  # taken out, for the sum of the powers themselves is 0 from an order of about 1,000 on
    powers = order * np.log(largest) + np.log(np.sum((share / largest) ** order))
    return float(np.exp(powers / (1 - order)))
