"""Checks of arguments of public functions: a concrete value is tested, a tracer passes."""

import math
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays
from gendiff.core.arrays import ArrayLike, Numeric
from gendiff.core.choices import choice as choice


def in_range(
    name: str, value: Numeric, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> None:
    """A concrete value lies between two bounds; NaN never does.

    Args:
        name: of the argument, for the message.
        value: of any shape; each entry is tested.
        low: the least value.
        high: the largest value.
        open_low: whether `low` itself is outside.
        open_high: whether `high` itself is outside.

    Raises:
        ValueError: with the value and its range.
    """
    if not arrays.is_concrete(value):
        return
    number = np.asarray(value)
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not np.all(above & below):
        bounds = (
            f"{'(' if open_low or math.isinf(low) else '['}{low:g}, "
            f"{high:g}{')' if open_high or math.isinf(high) else ']'}"
        )
        raise ValueError(f"{name} = {_show(number)} is outside {bounds}")


def finite(name: str, value: Numeric) -> None:
    """Raise ValueError unless every entry of a concrete `value` is finite."""
    if arrays.is_concrete(value) and not np.all(np.isfinite(np.asarray(value))):
        raise ValueError(f"{name} is not finite: {_show(np.asarray(value))}")


def integer(name: str, value: Numeric, low: int = 0, high: int | None = None) -> None:
    """A concrete integer lies between two bounds.

    Args:
        name: of the argument, for the message.
        value: () an integer; a bool is none.
        low: the least value.
        high: the largest value, or None.

    Raises:
        TypeError: for anything but an integer, of a tracer too.
        ValueError: with the value and its range.
    """
    if not arrays.is_concrete(value):
        if not jnp.issubdtype(value.dtype, jnp.integer):
            raise TypeError(f"{name} must be an integer, got dtype {value.dtype}")
        return
    if isinstance(value, bool) or not (
        isinstance(value, numbers.Integral)
        or (np.ndim(value) == 0 and np.issubdtype(np.asarray(value).dtype, np.integer))
    ):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if int(value) < low or (high is not None and int(value) > high):
        raise ValueError(f"{name} = {int(value)} is outside [{low}, {'…' if high is None else high}]")


def counts(record: object, *names: str, optional: tuple[str, ...] = ()) -> None:
    """The fields of these names are integers of at least 1, and optional ones may be None; errors are as above."""
    for name in (*names, *(name for name in optional if getattr(record, name) is not None)):
        integer(name, getattr(record, name), 1)


def ids(name: str, values: ArrayLike, number: int, also: int | None = None) -> None:
    """Concrete ids are integers from 0 … number − 1.

    Args:
        name: of the argument, for the message.
        values: of any shape.
        number: how many ids there are.
        also: one more that is allowed.

    Raises:
        TypeError: unless they are integers, of tracers too.
        ValueError: with the first unknown one.
    """
    if not jnp.issubdtype(jnp.result_type(values), jnp.integer):
        raise TypeError(f"{name} must hold integers, got {jnp.result_type(values)}")
    if arrays.is_concrete(values):
        numbers = np.asarray(values, np.int64)
        unknown = numbers[((numbers < 0) | (numbers >= number)) & ((numbers != also) if also is not None else True)]
        if unknown.size:
            raise ValueError(f"{name} holds {unknown.flat[0]}, which is none of 0 … {number - 1}")


def same_shape(first_name: str, first: Numeric, second_name: str, second: Numeric) -> None:
    """Raise ValueError with both shapes unless they are equal."""
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"{first_name} has shape {np.shape(first)} but {second_name} has shape {np.shape(second)}: they must be "
            "equal"
        )


def floating(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a floating array: pixels are scaled before they come here."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{name} must be a floating array, got {dtype or type(value).__name__}; "
            "scale images to [-1, 1] first (gendiff.data.scaling.to_unit)"
        )


def unscaled_pixels(name: str, value: Numeric) -> None:
    """Raise ValueError for a concrete float array that still holds whole pixel values 0…255."""
    if not arrays.is_concrete(value) or np.size(value) == 0:
        return
    numbers_ = np.asarray(value)
    if numbers_.min() >= 0 and 1 < numbers_.max() <= 255 and np.array_equal(numbers_, np.round(numbers_)):
        raise ValueError(
            f"{name} of shape {numbers_.shape} holds whole numbers in [{numbers_.min():g}, {numbers_.max():g}], like "
            "unscaled pixels; scale images to [-1, 1] first (gendiff.data.scaling.to_unit)"
        )


def one_key(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a typed random key, and ValueError unless it is exactly one."""
    if value is None:
        raise TypeError(f"{name} is None: pass jax.random.key(seed)")
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"{name} must be a typed key from jax.random.key(seed), got {dtype or type(value).__name__}; "
            "wrap a legacy key with jax.random.wrap_key_data"
        )
    if (shape := np.shape(value)) != ():
        raise ValueError(
            f"{name} must be one key, got a batch of shape {shape}; samples get their own keys from `index`"
        )


def _show(number: np.ndarray) -> str:
    return f"{number:g}" if number.ndim == 0 else np.array2string(number, threshold=6, precision=4)
