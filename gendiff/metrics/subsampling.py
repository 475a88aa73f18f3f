"""Random subsets of one size, so that metrics whose value depends on the number of rows can be compared."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation


def subsets(
    name: str, pool: Float64[np.ndarray, "n d"], *, count: int, size: int, seed: int
) -> Iterator[Float64[np.ndarray, "size d"]]:
    """Draw `count` random subsets of the rows of `pool`, one after the other.

    Args:
        name: what the pool is called in an error.
        pool: (n, d) rows.
        count: how many subsets, >= 1.
        size: rows per subset, 2 … n, without replacement within a subset.
        seed: 0 … 2³² - 1; it alone decides which rows are drawn.

    Raises:
        ValueError: for a number outside its range; both counts are named when the pool has fewer than `size` rows.
    """
    checks.integer("count", count, 1)
    checks.integer("size", size, 2)
    checks.integer("seed", seed, 0, 2**32 - 1)
    validation.check_subset_size(name, len(pool), size)
    rng = np.random.default_rng(seed)
    return (pool[rng.choice(len(pool), size, replace=False)] for _ in range(count))


def jackknifed(values: Shaped[ArrayLike, "count"], *, rows: int, size: int) -> Float64[np.ndarray, "count"]:
    """Move values of random subsets away from their mean, until the error of the mean is that of another set.

    Subsets of one set share rows: a mean over many of them has hardly an error of its own, but another set of as many
    rows would give another mean. The delete-d jackknife estimates that variance by size / (rows - size) times the mean
    square of the values around their mean (Shao & Wu 1989, equation 2.1). A bootstrap of the mean of what is returned
    has this variance.

    Args:
        values: (count,) of a measure, of subsets that leave out many rows, at least about their square root.
        rows: of the set.
        size: rows per subset, 1 … rows - 1.

    Returns:
        (count,) with the same mean.

    Raises:
        ValueError: when a number is outside its range, or a value is not finite.
    """
    checks.integer("rows", rows, 2)
    checks.integer("size", size, 1, rows - 1)
    each = np.asarray(values, np.float64)
    checks.finite("values", each)
    middle = each.mean()
    return middle + (each - middle) * math.sqrt(len(each) * size / (rows - size))
