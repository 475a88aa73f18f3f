"""Near-copies of training data: samples much nearer to one training row than to any other.

The ratio of the two distances is that of Yoon et al. (2023), with a wider threshold. A fresh sample has several training rows at about
one distance; a copy has one that stands out. Real held-out data has a rate of its own, which belongs beside every value.
"""

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import neighbours, validation

THRESHOLD = 0.6


def rate(samples: Shaped[ArrayLike, "n d"], training: Shaped[ArrayLike, "m _"], *, threshold: int | float = THRESHOLD) -> float:
    """The share of samples, in [0, 1], whose ratio is below `threshold`. Raises as `ratios` does."""
    checks.in_range("threshold", threshold, 0.0, 1.0, open_low=True)
    return float(np.mean(ratios(samples, training) < threshold))


def ratios(samples: Shaped[ArrayLike, "n d"], training: Shaped[ArrayLike, "m _"]) -> Float64[np.ndarray, "n"]:
    """Nearest over second-nearest Euclidean distance, in [0, 1], to the training rows without their duplicates.

    Raises ValueError for fewer than 2 distinct training rows, different numbers of features, and features that are not finite.
    """
    asked, known = validation.pair("samples", samples, "training", training, at_least=1)
    distinct = np.unique(known, axis=0)  # a duplicate would be its twin's second neighbour and hide every copy of it
    if len(distinct) < 2:
        raise ValueError(f"training has {len(distinct)} distinct row of {len(known)}: at least 2 are needed")
    found, _ = neighbours.nearest(asked, distinct, 2)
    return found[:, 0] / found[:, 1]
