"""pass@k: the chance that at least one of k answers is right, estimated from n >= k answers without bias."""

import math

import numpy as np
from jaxtyping import Integer

from gendiff.core import checks

Whole = int | np.integer | Integer[np.ndarray, "..."]
"""A whole number, or an array of several; they broadcast."""
Real = np.ndarray | np.float64
FEW = 64
"""Factors that are multiplied one by one."""
SERIES = 16.0
"""From here on Stirling's series is exact in float64."""
ALMOST = 1 - 1e-16
"""Below 1, so that a logarithm which is not used is finite."""


def pass_at_k(n: Whole, c: Whole, k: Whole) -> Real:
    """Estimate pass@k as 1 - C(n - c, k) / C(n, k): the share of sets of k of the n answers with at least one right.

    Its mean over questions is the coverage of k answers. 1 - (1 - c / n)^k is too small instead, for it draws with
    replacement.

    Args:
        n: answers that were drawn, >= 1.
        c: how many of them are right, 0 … n.
        k: answers that are counted, 1 … n.

    Returns:
        Float64 numbers in [0, 1], to 12 digits for n up to 2^53; time and memory do not grow with n.

    Raises:
        ValueError: for numbers outside these ranges.

    References:
        Chen et al., 2021, Eq. 1 (from memory).
    """
    answers, right, counted = (np.asarray(value, np.float64) for value in (n, c, k))
    checks.in_range("n", answers, 1.0, math.inf, open_high=True)
    checks.in_range("c", right, 0.0, math.inf, open_high=True)
    checks.in_range("k", counted, 1.0, math.inf, open_high=True)
    if np.any(right > answers):
        raise ValueError(f"c = {_largest(right)} right answers are more than n = {_largest(answers)} answers")
    if np.any(counted > answers):
        raise ValueError(
            f"k = {_largest(counted)} is above n = {_largest(answers)}: draw at least as many answers as are counted"
        )
    answers, few, many = np.broadcast_arrays(answers, np.minimum(right, counted), np.maximum(right, counted))
    wrong = answers - few - many  # with fewer wrong answers than k, every set holds a right one
    missed = np.where(few <= FEW, _by_factors(answers, few, many), _by_stirling(answers, few, many))
    return np.where(wrong < 0, 1.0, -np.expm1(missed))[()]


def _by_factors(n: np.ndarray, few: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Log of C(n - c, k) / C(n, k), the same for c and k in either order, where one of them is at most FEW."""
    total = np.zeros(np.shape(n))
    for number in range(int(min(few.max(), FEW))):
        total += np.log1p(-np.where(number < few, np.minimum(many / np.maximum(n - number, 1.0), ALMOST), 0.0))
    return total


def _by_stirling(n: np.ndarray, few: np.ndarray, many: np.ndarray) -> Real:
    """The same for more, by Stirling's series of the four factorials; no leading terms cancel."""
    wrong = np.maximum(n - few - many, SERIES)  # of fewer and so many right ones the chance is below 1e-25
    first, second = np.maximum(n - few, wrong), np.maximum(n - many, wrong)
    common = np.log1p(-np.minimum(few * many / (first * second), ALMOST))
    leading = (
        many * np.log1p(-np.minimum(few / n, ALMOST))
        + few * np.log1p(-np.minimum(many / n, ALMOST))
        - (wrong + 0.5) * common
    )
    missed: Real = np.minimum(leading + _series(first) + _series(second) - _series(n) - _series(wrong), 0.0)
    return missed


def _series(x: Real) -> Real:
    """The part of log Γ(x + 1) beyond (x + 1/2) log x - x + log(2π) / 2, for x >= SERIES: to 1e-16."""
    x = np.maximum(x, SERIES)
    rest: Real = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / x**2) / x**2) / x**2) / x**2) / x
    return rest


def _largest(values: np.ndarray) -> int:
    return int(values.max())
