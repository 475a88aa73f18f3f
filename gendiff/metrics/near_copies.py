"""Near-copies of training data: samples much nearer to one training row than to any other.

Also known as: memorisation, a form of overfitting.

The ratio of the two distances is that of Yoon et al. (2023), with a wider threshold. A fresh sample has several
training rows at about one distance; a copy has one that stands out. Real held-out data has a rate of its own, which
belongs beside every value: `provenance.memorisation_report` puts it there, and shows which rows are copied.
"""

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import neighbours, validation

THRESHOLD = 0.6


def rate(
    samples: Shaped[ArrayLike, "n d"], training: Shaped[ArrayLike, "m _"], *, threshold: int | float = THRESHOLD
) -> float:
    """Measure the share of samples, in [0, 1], whose ratio is below `threshold`.

    Args:
        samples: (n, d).
        training: (m, d), at least 2 distinct rows.
        threshold: in (0, 1].

    Raises:
        ValueError: as `ratios` does.
    """
    checks.in_range("threshold", threshold, 0.0, 1.0, open_low=True)
    return float(np.mean(ratios(samples, training) < threshold))


def ratios(samples: Shaped[ArrayLike, "n d"], training: Shaped[ArrayLike, "m _"]) -> Float64[np.ndarray, "n"]:
    """Divide nearest by second-nearest Euclidean distance to the training rows without their duplicates, in [0, 1].

    Args:
        samples: (n, d).
        training: (m, d), at least 2 distinct rows.

    Raises:
        ValueError: for fewer than 2 distinct training rows, different numbers of features, and features that are not
            finite.

    References:
        Yoon et al., 2023 (from memory), with a wider threshold.
    """
    rows, known = validation.as_feature_pair("samples", samples, "training", training, at_least=1)
    first, _ = distinct(known)
    if len(first) < 2:
        raise ValueError(f"training has {len(first)} distinct row of {len(known)}: at least 2 are needed")
    lengths, _ = neighbours.nearest(rows, known[first], 2)
    ratios: np.ndarray = lengths[:, 0] / lengths[:, 1]
    return ratios


def distinct(rows: Float64[np.ndarray, "m d"]) -> tuple[Int64[np.ndarray, "distinct"], Int64[np.ndarray, "p 2"]]:
    """Find the first of equal rows, since a duplicate would hide copies of its twin.

    Args:
        rows: (m, d).

    Returns:
        Indices of the first of equal rows in ascending order, and pairs (a later one, the first that it equals).
    """
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    original = first[inverse.reshape(-1)]
    later = np.flatnonzero(original != np.arange(len(rows)))
    return np.sort(first), np.stack([later, original[later]], axis=-1)
