"""Whole pixel values 0…levels-1 and numbers in [-1, 1]: the one place that turns one into the other.

k = 0…L-1 corresponds to x = (2k - (L-1)) / (L-1), so the lowest level is exactly -1 and the highest exactly 1.
NumPy arrays give NumPy arrays; JAX arrays, traced or not, give JAX arrays.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Shaped

from gendiff.core import arrays, checks
from gendiff.core.errors import NonFiniteError
from gendiff.core.types import ArrayLike

MOST_LEVELS = 2**16
"""float32 still tells neighbouring levels apart by a factor of 100."""


def to_unit(pixels: Shaped[ArrayLike, "*shape"], levels: int) -> Float32[ArrayLike, "*shape"]:
    """Scale whole values 0…levels-1 to float32 in [-1, 1].

    Args:
        pixels: any shape, of an integer dtype.
        levels: how many values there are, 2 … 65536.

    Raises:
        TypeError: unless `pixels` has an integer dtype.
        ValueError: for a concrete value outside 0…levels-1.
    """
    _check_levels(levels)
    if not jnp.issubdtype(pixels.dtype, jnp.integer):
        raise TypeError(
            f"pixels must be whole values of an integer dtype, 0…{levels - 1}, got {pixels.dtype}; cast them with "
            ".astype('uint8')"
        )
    if arrays.is_concrete(pixels) and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high >= levels:
            raise ValueError(f"pixels lie in {low}…{high}, but {levels} levels are 0…{levels - 1}")
    x = pixels.astype(np.float32)
    if isinstance(x, np.ndarray):  # in place: a clip is large, and each temporary array of its size takes time
        x *= 2
        x -= levels - 1
        x /= levels - 1
        return x
    return _unit(x, levels)


def from_unit(x: Shaped[ArrayLike, "*shape"], levels: int) -> Shaped[ArrayLike, "*shape"]:
    """Find the nearest of the whole values 0…levels-1, halves up; uint8 up to 256 levels, else uint16.

    Args:
        x: any shape, floating; values outside [-1, 1] are clipped. Under jit a NaN has no defined pixel.
        levels: how many values there are, 2 … 65536.

    Raises:
        NonFiniteError: for a concrete NaN or infinity, because a cast would make it a pixel.
    """
    _check_levels(levels)
    checks.floating("x", x)
    if arrays.is_concrete(x):
        bad = x.size - int(np.isfinite(np.asarray(x, dtype=np.float64)).sum())
        if bad:
            raise NonFiniteError(
                f"{bad} of {x.size} values are NaN or infinite and have no pixel value (shape {x.shape})"
            )
    return _nearest(x, levels).astype(np.uint8 if levels <= 256 else np.uint16)


def round_to_levels(x: Shaped[ArrayLike, "*shape"], levels: int) -> Float[ArrayLike, "*shape"]:
    """Round x to the nearest of `levels` values in [-1, 1], in its dtype: `to_unit(from_unit(x))`; NaN stays NaN."""
    _check_levels(levels)
    checks.floating("x", x)
    return _unit(_nearest(x, levels), levels).astype(x.dtype)


def bits_offset(levels: int) -> float:
    """Compute the bits per dimension to add to a continuous bound on data in [-1, 1]: log2(levels / 2).

    It is the log of one over the width of a level.

    7 for 256 levels, 3.09 for the digits' 17. It belongs to whole values that fill [-1, 1] side by side, each
    2 / levels wide; on the grid of `to_unit`, whose neighbours are 2 / (levels - 1) apart, the exact offset is
    log2((levels - 1) / 2): 6.994 and 3.
    """
    _check_levels(levels)
    return math.log2(levels / 2)


def _check_levels(levels: int) -> None:
    checks.integer("levels", levels, 2, MOST_LEVELS)


def _unit(integers: ArrayLike, levels: int) -> ArrayLike:
    return (2 * integers - (levels - 1)) / (levels - 1)


def _nearest(x: ArrayLike, levels: int) -> ArrayLike:
    xp = np if isinstance(x, np.ndarray) else jnp
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # 16-bit floats cannot hold 256 levels and a half
    nearest: ArrayLike = xp.clip(xp.floor((wide + 1) * ((levels - 1) / 2) + 0.5), 0, levels - 1)
    return nearest
