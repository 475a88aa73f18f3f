"""Improved precision and recall: shares of one set inside the k-nearest-neighbour balls of the other.

Kynkäänniemi et al., 2019, Eq. 1-2.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import neighbours, subsampling, validation


@dataclass(frozen=True)
class PrecisionRecall:
    """Two shares in [0, 1].

    Args:
        precision: of samples that look real.
        recall: of real rows that the samples reach.
    """

    precision: float
    recall: float


def measure(real: Shaped[ArrayLike, "n d"], samples: Shaped[ArrayLike, "m _"], *, k: int = 3) -> PrecisionRecall:
    """Measure precision and recall, with Euclidean balls up to the k-th nearest other row of the same set.

    Both depend on n and m, because more rows have smaller balls: compare only values of equal sizes.

    Args:
        real: (n, d), n > k.
        samples: (m, d), m > k.
        k: which neighbour is on a ball's surface, >= 1.

    Raises:
        ValueError: for too few rows, different numbers of features, and features that are not finite.

    References:
        Kynkäänniemi et al., 2019, Eqs. 1-2 (from memory).
    """
    checks.integer("k", k, 1)
    truth, rows = validation.as_feature_pair("real", real, "samples", samples, at_least=k + 1)
    return PrecisionRecall(
        precision=float(inside(rows, truth, k=k).mean()), recall=float(inside(truth, rows, k=k).mean())
    )


def over_subsets(
    real: Shaped[ArrayLike, "n d"],
    samples: Shaped[ArrayLike, "m _"],
    *,
    k: int = 3,
    count: int = 20,
    size: int = 1000,
    seed: int,
) -> list[PrecisionRecall]:
    """Apply `measure` to the whole of `real` and each of `count` random subsets of the samples.

    Training data, as the samples, against held-out data is the value to reach.

    Args:
        real: (n, d).
        samples: (m, d).
        k: as for `measure`.
        count: how many subsets.
        size: rows per subset, at most m, without replacement within a subset.
        seed: decides which rows are drawn.

    Raises:
        ValueError: when there are fewer than `size` samples, and as `measure` does.
    """
    truth, pool = validation.as_feature_pair("real", real, "samples", samples)
    return [
        measure(truth, rows, k=k) for rows in subsampling.subsets("samples", pool, count=count, size=size, seed=seed)
    ]


def inside(queries: Shaped[ArrayLike, "n d"], points: Shaped[ArrayLike, "m _"], *, k: int = 3) -> Bool[np.ndarray, "n"]:
    """Return which queries lie in the ball of at least one point.

    Precision and recall are means of these rows. They serve for a bootstrap.

    Raises:
        ValueError: for arrays of other shapes, and for k below 1 or above the other points.
    """
    checks.integer("k", k, 1)
    rows, centres = validation.as_feature_pair("queries", queries, "points", points, at_least=1)
    radius = neighbours.nearest(centres, centres, k, others=True)[0][:, -1]
    covered = np.empty(len(rows), dtype=bool)
    for part, block in neighbours.distances(rows, centres):
        covered[part] = (block <= radius[None, :]).any(axis=1)
    return covered
