"""Vendi score: how many distinct items a set amounts to, without any reference (Friedman & Dieng, 2023, Def. 3.1)."""

import math

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import subsampling as draw
from gendiff.metrics import validation


def score(features: Shaped[ArrayLike, "n d"], *, order: int | float = 1.0) -> float:
    """exp of the entropy of the eigenvalues of K / n, K the cosines between the rows: 1 for n equal rows, n for n orthogonal ones.

    order: q >= 0 of the Rényi entropy, log(sum of eigenvalue^q) / (1 - q) (Pasarkar & Dieng, 2024, Eq. 3): 1 is Shannon's, inf counts
    the largest eigenvalue only, 0 the eigenvalues that are not 0; large orders see common items, small ones rare items too.

    Cosines are of the rows as given: pixels of one sign are all alike, so centre them, or use features. It lies in [1, min(n, d)] and grows
    with n: compare only values of equal n. Raises ValueError for a row of zeros, which has no direction, an order below 0 and what
    `rows.features` refuses.
    """
    checks.in_range("order", order, 0.0, math.inf)
    return _score(_directions(features), order)


def over_draws(
    features: Shaped[ArrayLike, "n d"], *, order: int | float = 1.0, draws: int = 20, size: int = 1000, seed: int
) -> Float64[np.ndarray, "draws"]:
    """`score` of each of `draws` draws of `size` rows, without replacement within a draw, so that sets of different n compare.

    Raises ValueError when there are fewer than `size` rows, and as `score` does.
    """
    checks.in_range("order", order, 0.0, math.inf)
    directions = _directions(features)
    return np.array([_score(drawn, order) for drawn in draw.of("features", directions, draws=draws, size=size, seed=seed)])


def _directions(features: ArrayLike) -> np.ndarray:
    given = validation.features("features", features, at_least=1)
    longest = np.abs(given).max(axis=1, keepdims=True)  # taken out first, so that squares neither overflow nor vanish
    if not longest.all():
        raise ValueError(
            f"features: {int((longest == 0).sum())} of {len(given)} rows are all zeros and have no direction; centre them first"
        )
    scaled = given / longest
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def _score(directions: np.ndarray, order: int | float) -> float:
    """From singular values, which are those of K / n squared: of the smaller side, and never negative."""
    singular = np.linalg.svd(directions, compute_uv=False)
    share = singular**2 / np.sum(singular**2)
    share = share[share > len(share) * np.finfo(np.float64).eps]  # a root of what is left of 0 would count as an item at order 0
    if order == 1:
        return float(np.exp(-np.sum(share * np.log(share))))
    if math.isinf(order):
        return float(1 / share.max())
    return float(np.exp(np.log(np.sum(share**order)) / (1 - order)))
