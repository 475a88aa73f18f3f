"""Exact nearest neighbours in Euclidean distance, float64, a chunk of rows at a time.

scikit-learn's brute force forms distances from squares, so that a copy is not exactly 0 away, and its trees break ties by no rule.
Here distances come from differences and ties go to the smaller index.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.distance import cdist

CHUNK = 500
"""Query rows whose distances are held at a time."""


def distances(queries: Float64[np.ndarray, "n d"], points: Float64[np.ndarray, "m d"]) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of the queries with their distances (chunk, m) to all points; equal rows are exactly 0 apart."""
    for start in range(0, len(queries), CHUNK):
        part = slice(start, min(start + CHUNK, len(queries)))
        yield part, cdist(queries[part], points)


def nearest(
    queries: Float64[np.ndarray, "n d"], points: Float64[np.ndarray, "m d"], k: int, *, others: bool = False
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """Find the k nearest points of each query.

    Args:
        queries: (n, d).
        points: (m, d).
        k: 1 … m, or m - 1 with `others`.
        others: queries and points are one set, and no point is its own neighbour; a duplicate of it is one, at distance 0.

    Returns:
        Distances (n, k) and indices of points (n, k), nearest first, ties by index.

    Raises:
        ValueError: for more neighbours than there are points, with both counts.
    """
    available = len(points) - others
    if k > available:
        raise ValueError(f"{k} neighbours are asked for, but there are only {available} points to choose from")
    index = np.empty((len(queries), k), dtype=np.int64)
    length = np.empty((len(queries), k))
    for part, block in distances(queries, points):
        if others:
            block[np.arange(len(block)), np.arange(part.start, part.stop)] = np.inf
        index[part] = np.argsort(block, axis=1, kind="stable")[:, :k]
        length[part] = np.take_along_axis(block, index[part], axis=1)
    return length, index
