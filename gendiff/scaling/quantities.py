"""The arguments of this chapter's functions: numbers or arrays of several cases, never below 0."""

import math

import numpy as np

from gendiff.core import checks

Number = int | float | np.ndarray
"""A number, or an array of several cases; they broadcast."""


def not_negative(**values: Number) -> None:
    """Raise ValueError for a named number below 0, and for NaN."""
    for name, value in values.items():
        checks.in_range(name, value, 0.0, math.inf)


def positive(high: int | float = math.inf, **values: Number) -> None:
    """Raise ValueError for a named number that is not above 0, or is above `high`, and for NaN."""
    for name, value in values.items():
        checks.in_range(name, value, 0.0, float(high), open_low=True)
