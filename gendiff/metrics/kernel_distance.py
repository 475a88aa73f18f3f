"""Kernel distance: the unbiased squared maximum mean discrepancy with a cubic kernel (Bińkowski et al., 2018, Sec. 4 and Eq. 4)."""

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
    value: float
    standard_error: float


def distance(features: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"]) -> float:
    """The unbiased estimate of MMD² under k(x, y) = (x·y / d + 1)³, from all pairs.

    Its expectation is 0 for equal distributions, whatever n and m, so single values may be negative. Raises ValueError for fewer than
    2 rows, different numbers of features, and features that are not finite.
    """
    first, second = validation.pair("features", features, "other", other)
    return _unbiased(first, second)


def over_blocks(features: Shaped[ArrayLike, "n d"], other: Shaped[ArrayLike, "m _"], *, blocks: int = 10, seed: int) -> Estimate:
    """The mean of `distance` over disjoint blocks of both sets, shuffled by `seed`, and the standard error of that mean.

    Each block has n // blocks and m // blocks rows; what is left over is not used. Disjoint blocks are independent, so the standard
    error is an honest one, which that of overlapping subsets is not. Raises ValueError when a block would have fewer than 2 rows.
    """
    checks.integer("blocks", blocks, 2)
    checks.integer("seed", seed, 0, 2**32 - 1)
    first, second = validation.pair("features", features, "other", other)
    validation.draw_size("features", len(first), 2 * blocks)
    validation.draw_size("other", len(second), 2 * blocks)
    rng = np.random.default_rng(seed)
    left, right = (_blocks(rng.permutation(sample), blocks) for sample in (first, second))
    values = np.array([_unbiased(a, b) for a, b in zip(left, right, strict=True)])
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(blocks)))


def _unbiased(first: np.ndarray, second: np.ndarray) -> float:
    n, m = len(first), len(second)
    within_first = (_kernel_sum(first, first) - _kernel(np.sum(first**2, axis=1), first.shape[1]).sum()) / (n * (n - 1))
    within_second = (_kernel_sum(second, second) - _kernel(np.sum(second**2, axis=1), second.shape[1]).sum()) / (m * (m - 1))
    return float(within_first + within_second - 2 * _kernel_sum(first, second) / (n * m))


def _kernel_sum(first: np.ndarray, second: np.ndarray) -> float:
    size = first.shape[1]
    return sum(float(_kernel(first[start : start + CHUNK] @ second.T, size).sum()) for start in range(0, len(first), CHUNK))


def _kernel(products: np.ndarray, size: int) -> np.ndarray:
    return (products / size + 1) ** 3


def _blocks(shuffled: np.ndarray, blocks: int) -> np.ndarray:
    size = len(shuffled) // blocks
    return shuffled[: size * blocks].reshape(blocks, size, -1)
