"""Improved precision and recall: shares of one set inside the other's k-nearest-neighbour balls (Kynkäänniemi et al., 2019, Eq. 1-2)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import neighbours, validation
from gendiff.metrics import subsampling as draw


@dataclass(frozen=True)
class Coverage:
    """precision: the share of samples that look real. recall: the share of real rows that the samples reach. Both in [0, 1]."""

    precision: float
    recall: float


def precision_recall(real: Shaped[ArrayLike, "n d"], samples: Shaped[ArrayLike, "m _"], *, k: int = 3) -> Coverage:
    """Both shares, with Euclidean balls that reach to the k-th nearest other row of their own set.

    Both depend on n and m, because more rows have smaller balls: compare only values of equal sizes. Raises ValueError for k + 1 > n or m,
    different numbers of features, and features that are not finite.
    """
    checks.integer("k", k, 1)
    truth, drawn = validation.pair("real", real, "samples", samples, at_least=k + 1)
    return Coverage(precision=float(inside(drawn, truth, k=k).mean()), recall=float(inside(truth, drawn, k=k).mean()))


def over_draws(
    real: Shaped[ArrayLike, "n d"], samples: Shaped[ArrayLike, "m _"], *, k: int = 3, draws: int = 20, size: int = 1000, seed: int
) -> list[Coverage]:
    """`precision_recall` between the whole of `real` and each of `draws` draws of `size` samples, without replacement within a draw.

    Measured so, training data (as the samples) against held-out data is the value to reach. Raises ValueError when there are fewer than
    `size` samples, and as `precision_recall` does.
    """
    truth, pool = validation.pair("real", real, "samples", samples)
    return [precision_recall(truth, drawn, k=k) for drawn in draw.of("samples", pool, draws=draws, size=size, seed=seed)]


def inside(queries: Shaped[ArrayLike, "n d"], points: Shaped[ArrayLike, "m _"], *, k: int = 3) -> Bool[np.ndarray, "n"]:
    """Which queries lie in the ball of at least one point: the rows whose mean is precision or recall, for a bootstrap."""
    asked, centres = validation.pair("queries", queries, "points", points, at_least=1)
    radius = neighbours.nearest_others(centres, k)[0][:, -1]
    covered = np.empty(len(asked), dtype=bool)
    for part, block in neighbours.distances(asked, centres):
        covered[part] = (block <= radius[None, :]).any(axis=1)
    return covered
