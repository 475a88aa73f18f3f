"""Kernel distance, also known as kernel inception distance (KID) where features are Inception's.

It is the unbiased squared maximum mean discrepancy with a cubic kernel (Bińkowski et al., 2018, Sec. 4 and Eq. 4).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation

CHUNK = 1000
"""Rows whose kernel values are held at a time."""


@dataclass(frozen=True)
class Estimate:
    """A mean over blocks.

    Args:
        value: the mean.
        standard_error: of that mean.
    """

    value: float
    standard_error: float


def squared_mmd(features: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"]) -> float:
    """Estimate MMD² without bias under k(x, y) = (x·y / d + 1)³, from all pairs.

    Also known as: KID, where features are Inception's.

    Its expectation is 0 for equal distributions, whatever n and m, so single values may be negative.

    Args:
        features: (n, d), n >= 2.
        other: (m, d), m >= 2.

    Raises:
        ValueError: for fewer than 2 rows, different numbers of features, and features that are not finite.

    References:
        Bińkowski et al., 2018, Sec. 4 and Eq. 4 (from memory).
    """
    first, second = validation.as_feature_pair("features", features, "other", other)
    return _unbiased(first, second)


def over_blocks(
    features: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"], *, blocks: int = 10, seed: int
) -> Estimate:
    """Average `squared_mmd` over disjoint blocks of both sets.

    Disjoint blocks are independent, so the standard error is an honest one, which that of overlapping subsets is not.

    Args:
        features: (n, d).
        other: (m, d).
        blocks: how many, >= 2; each has n // blocks and m // blocks rows, and what is left over is not used.
        seed: 0 … 2³² - 1, shuffles both sets.

    Raises:
        ValueError: when a block would have fewer than 2 rows, and as `squared_mmd` does.
    """
    checks.integer("blocks", blocks, 2)
    checks.integer("seed", seed, 0, 2**32 - 1)
    first, second = validation.as_feature_pair("features", features, "other", other)
    validation.check_subset_size("features", len(first), 2 * blocks)
    validation.check_subset_size("other", len(second), 2 * blocks)
    rng = np.random.default_rng(seed)
    left, right = (_blocks(rng.permutation(sample), blocks) for sample in (first, second))
    values = np.array([_unbiased(a, b) for a, b in zip(left, right, strict=True)])
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(blocks)))


def _unbiased(first: np.ndarray, second: np.ndarray) -> float:
    n, m = len(first), len(second)
    within_first = (_kernel_sum(first, first) - _kernel(np.sum(first**2, axis=1), first.shape[1]).sum()) / (n * (n - 1))
    within_second = (_kernel_sum(second, second) - _kernel(np.sum(second**2, axis=1), second.shape[1]).sum()) / (
        m * (m - 1)
    )
    return float(within_first + within_second - 2 * _kernel_sum(first, second) / (n * m))


def _kernel_sum(first: np.ndarray, second: np.ndarray) -> float:
    size = first.shape[1]
    return sum(
        float(_kernel(first[start : start + CHUNK] @ second.T, size).sum()) for start in range(0, len(first), CHUNK)
    )


def _kernel(products: np.ndarray, size: int) -> np.ndarray:
    return (products / size + 1) ** 3


def _blocks(shuffled: np.ndarray, blocks: int) -> np.ndarray:
    size = len(shuffled) // blocks
    return shuffled[: size * blocks].reshape(blocks, size, -1)
