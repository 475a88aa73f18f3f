"""Exact nearest neighbours in Euclidean distance, float64, a chunk of rows at a time."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.distance import cdist

CHUNK = 500


def distances(queries: Float64[np.ndarray, "n d"], points: Float64[np.ndarray, "m d"]) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of the queries with their distances (chunk, m) to all points, each from differences: equal rows are exactly 0 apart."""
    for start in range(0, len(queries), CHUNK):
        part = slice(start, min(start + CHUNK, len(queries)))
        yield part, cdist(queries[part], points)


def nearest(
    queries: Float64[np.ndarray, "n d"], points: Float64[np.ndarray, "m d"], k: int
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """Distances to the k nearest points and their indices, nearest first, ties by index."""
    _check_count(len(points), k)
    found = np.empty((len(queries), k))
    index = np.empty((len(queries), k), dtype=np.int64)
    for part, block in distances(queries, points):
        index[part] = np.argsort(block, axis=1, kind="stable")[:, :k]
        found[part] = np.take_along_axis(block, index[part], axis=1)
    return found, index


def nearest_others(points: Float64[np.ndarray, "m d"], k: int) -> tuple[Float64[np.ndarray, "m k"], Int64[np.ndarray, "m k"]]:
    """`nearest` within one set, no point being its own neighbour (a duplicate of it is one, at distance 0)."""
    _check_count(len(points) - 1, k)
    found = np.empty((len(points), k))
    index = np.empty((len(points), k), dtype=np.int64)
    for part, block in distances(points, points):
        block[np.arange(len(block)), np.arange(part.start, part.stop)] = np.inf
        index[part] = np.argsort(block, axis=1, kind="stable")[:, :k]
        found[part] = np.take_along_axis(block, index[part], axis=1)
    return found, index


def _check_count(available: int, k: int) -> None:
    if k > available:
        raise ValueError(f"{k} neighbours are asked for, but there are only {available} points to choose from")
