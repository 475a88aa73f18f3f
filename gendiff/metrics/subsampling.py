"""Random subsets of one size, so that metrics whose value depends on the number of rows can be compared."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from gendiff.core import checks
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
