"""Exact nearest neighbours in Euclidean distance, float64, a chunk of rows at a time.

scikit-learn's brute force forms distances from squares, so that a copy is not exactly 0 away, and its trees break ties
by no rule. Here distances come from differences and ties go to the smaller index. Squares only choose, with room for
their rounding, which points may be among the nearest.
"""

from collections.abc import Iterator

import numpy as np
import scipy
from jaxtyping import Float64, Int64

CHUNK = 500
"""Query rows whose distances are held at a time."""


def distances(
    queries: Float64[np.ndarray, "n d"], points: Float64[np.ndarray, "m d"]
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of the queries with their distances (chunk, m) to all points; equal rows are exactly 0 apart."""
    for start in range(0, len(queries), CHUNK):
        part = slice(start, min(start + CHUNK, len(queries)))
        yield part, scipy.spatial.distance.cdist(queries[part], points)


def nearest(
    queries: Float64[np.ndarray, "n d"], points: Float64[np.ndarray, "m d"], k: int, *, others: bool = False
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """Find the k nearest points of each query.

    Besides the rows themselves it holds 16 bytes for each of CHUNK · m pairs: 0.4 GB for 50,000 points.

    Args:
        queries: (n, d).
        points: (m, d).
        k: 1 … m, or m - 1 with `others`.
        others: queries and points are one set, and no point is its own neighbour; a duplicate of it is one, at distance
            0.

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
    for part, candidates in _candidates(queries, points, k, others):
        for row, near in zip(range(part.start, part.stop), candidates, strict=True):
            exact = scipy.spatial.distance.cdist(queries[row : row + 1], points[near])[0]
            order = np.argsort(exact, kind="stable")[:k]
            index[row], length[row] = near[order], exact[order]
    return length, index


def _candidates(
    queries: np.ndarray, points: np.ndarray, k: int, others: bool
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Yield slices of the queries with the points, in order, that may be among the k nearest of each.

    There are seldom more than k. |q - p|² - |q|² = |p|² - 2 q·p is a matrix product. Rounding moves it, the sum of
    squares behind an exact distance and the root by less than half of `room` together, so a point beyond the k-th
    smallest plus `room` is further than k others.
    """
    squares = np.einsum("md,md->m", points, points)
    scale = np.einsum("nd,nd->n", queries, queries) + squares.max()
    room = 16 * (points.shape[1] + 4) * np.finfo(np.float64).eps * scale
    for start in range(0, len(queries), CHUNK):
        part = slice(start, min(start + CHUNK, len(queries)))
        with np.errstate(over="ignore", invalid="ignore"):
            block = queries[part] @ points.T
            block *= -2
            block += squares
        rows = np.arange(part.start, part.stop)
        if others:
            block[rows - part.start, rows] = np.inf
        limit = np.partition(block, k - 1, axis=1)[:, k - 1] + room[part]
        near = block <= limit[:, None]
        if not np.isfinite(limit).all():  # squares beyond the largest float say nothing
            near[~np.isfinite(limit)] = True
            if others:
                near[rows - part.start, rows] = False
        yield part, [np.flatnonzero(row) for row in near]
