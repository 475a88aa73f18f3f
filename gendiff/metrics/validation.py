"""Checks of the rows of a metric: enough of them, of one size, finite. Errors name the counts."""

import math

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt


def as_features(name: str, value: npt.ArrayLike, at_least: int = 2) -> np.ndarray:
    """Return `value` as float64 (n, d).

    Raises:
        ValueError: for another rank, fewer than `at_least` rows, or a row that is not finite.
    """
    rows = np.asarray(value)
    if rows.ndim != 2:
        raise ValueError(
            f"{name} must be features (n, d), got shape {rows.shape}; flatten images with "
            "gendiff.metrics.features.pixels"
        )
    return _numbers(name, rows, at_least)


def as_images(name: str, value: npt.ArrayLike, at_least: int = 2) -> np.ndarray:
    """Return `value` as float64 (n, …) of rank 2 and more.

    Raises:
        ValueError: as `as_features` does.
    """
    rows = np.asarray(value)
    if rows.ndim < 2:
        raise ValueError(f"{name} must be images (n, …), got shape {rows.shape}")
    return _numbers(name, rows, at_least)


def as_feature_pair(
    first_name: str, first: npt.ArrayLike, second_name: str, second: npt.ArrayLike, at_least: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of features as float64 (n, d) and (m, d).

    Raises:
        ValueError: for different d, and as `as_features` does.
    """
    one, other = as_features(first_name, first, at_least), as_features(second_name, second, at_least)
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"{first_name} has {one.shape[1]} features per row but {second_name} has {other.shape[1]}: they must be "
            "equal"
        )
    return one, other


def as_probabilities(name: str, value: npt.ArrayLike, classes: int | None = None) -> np.ndarray:
    """Return `value` as float64 (n, classes), rows that add up to 1.

    Args:
        name: of the argument, for the message.
        value: of at least one row.
        classes: how many numbers a row must have. None: any.

    Raises:
        ValueError: for rows of another size, and rows that are no probabilities.
    """
    rows = as_features(name, value, at_least=1)
    if classes is not None and rows.shape[1] != classes:
        raise ValueError(f"{name} has {rows.shape[1]} probabilities per row, but {classes} classes need as many")
    if rows.min() < 0 or not np.allclose(rows.sum(axis=1), 1.0, atol=1e-3):
        raise ValueError(
            f"{name} must be probabilities, at least 0 and adding up to 1 in each row; pass logits through a softmax "
            "first"
        )
    return rows


def as_labels(name: str, value: npt.ArrayLike, count: int) -> np.ndarray:
    """Return `value` as integers (count,).

    Raises:
        ValueError: for floats, another length or a negative label.
    """
    numbers = np.asarray(value)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers of an integer dtype, got {numbers.dtype}")
    if numbers.shape != (count,):
        raise ValueError(f"{name} has shape {numbers.shape}, but {count} rows need ({count},)")
    if numbers.size and numbers.min() < 0:
        raise ValueError(
            f"{name} holds {int((numbers < 0).sum())} negative labels of {count}; every row needs a class 0, 1, …"
        )
    return numbers


def check_subset_size(name: str, available: int, requested: int) -> None:
    """Raise ValueError when more rows are asked for, without replacement, than there are."""
    if requested > available:
        raise ValueError(f"{name} has {available} rows, fewer than the {requested} asked for")


def range_width(low: int | float, high: int | float) -> float:
    """Return high - low.

    Raises:
        ValueError: unless both are finite and low < high.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"the range of the data must have low < high, got low = {low:g} and high = {high:g}")
    return float(high - low)


def _numbers(name: str, rows: np.ndarray, at_least: int) -> np.ndarray:
    if not (jnp.issubdtype(rows.dtype, jnp.integer) or jnp.issubdtype(rows.dtype, jnp.floating)):
        raise ValueError(f"{name} must hold real numbers, got {rows.dtype}")
    if len(rows) < at_least or rows.size == 0:
        raise ValueError(f"{name} has shape {rows.shape}: at least {at_least} rows of at least one number are needed")
    wide = rows.astype(np.float64)
    bad = ~np.isfinite(wide.reshape(len(wide), -1)).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{name}: {int(bad.sum())} of {len(rows)} rows hold NaN or infinity, the first is row {int(np.argmax(bad))}"
        )
    return wide
