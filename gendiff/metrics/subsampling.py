"""Draws of one size from a larger set, so that metrics whose value depends on the number of rows can be compared."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from gendiff.core import checks
from gendiff.metrics import validation


def of(name: str, pool: Float64[np.ndarray, "n d"], *, draws: int, size: int, seed: int) -> Iterator[Float64[np.ndarray, "size d"]]:
    """`draws` times `size` rows of `pool`, without replacement within a draw, one after the other.

    Raises ValueError, with both counts, when the pool has fewer than `size` rows.
    """
    checks.integer("draws", draws, 1)
    checks.integer("size", size, 2)
    checks.integer("seed", seed, 0, 2**32 - 1)
    validation.draw_size(name, len(pool), size)
    rng = np.random.default_rng(seed)
    return (pool[rng.choice(len(pool), size, replace=False)] for _ in range(draws))
