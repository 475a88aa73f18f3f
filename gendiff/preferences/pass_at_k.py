"""pass@k: the chance that at least one of k answers is right, estimated from n >= k answers without bias."""

import math
from typing import Any

import numpy as np
import scipy.special
from jaxtyping import Integer

from gendiff.core import checks

Whole = int | np.integer | Integer[np.ndarray, "..."]
"""A whole number, or an array of several; they broadcast."""


def pass_at_k(n: Whole, c: Whole, k: Whole) -> np.ndarray | np.float64:
    """Estimate pass@k as 1 - C(n - c, k) / C(n, k): the share of all sets of k of the n answers in which at least one is right.

    Its mean over questions is the coverage of k answers. 1 - (1 - c / n)^k is too small instead, for it draws with replacement.

    Args:
        n: answers that were drawn, >= 1.
        c: how many of them are right, 0 … n.
        k: answers that are counted, 1 … n.

    Returns:
        Float64 numbers in [0, 1].

    Raises:
        ValueError: for numbers outside these ranges.

    References:
        Chen et al., 2021, Eq. 1 (from memory).
    """
    drawn, right, counted = (np.asarray(value, np.float64) for value in (n, c, k))
    checks.in_range("n", drawn, 1.0, math.inf, open_high=True)
    checks.in_range("c", right, 0.0, math.inf, open_high=True)
    checks.in_range("k", counted, 1.0, math.inf, open_high=True)
    if np.any(right > drawn):
        raise ValueError(f"c = {_largest(right)} right answers are more than n = {_largest(drawn)} answers")
    if np.any(counted > drawn):
        raise ValueError(f"k = {_largest(counted)} is above n = {_largest(drawn)}: draw at least as many answers as are counted")
    wrong = np.maximum(drawn - right, counted)  # with fewer wrong answers than k, every set holds a right one
    none = _log_choose(wrong, counted) - _log_choose(drawn, counted)
    return np.where(drawn - right < counted, 1.0, -np.expm1(np.minimum(none, 0.0)))[()]


def _log_choose(n: Any, k: Any) -> Any:
    return scipy.special.gammaln(n + 1) - scipy.special.gammaln(k + 1) - scipy.special.gammaln(n - k + 1)


def _largest(values: Any) -> int:
    return int(values.max())
