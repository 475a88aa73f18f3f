"""Operations on arrays that every chapter shares: broadcasting by sample, safe roots and quotients, noise by key."""

import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

ArrayLike = jax.Array | np.ndarray
Scalar = int | float | np.generic | np.ndarray | jax.Array
"""A number, concrete or traced."""
DType = jax.typing.DTypeLike
"""What names a dtype: jnp.float32, "float32" or a NumPy dtype."""
Numeric = Any  # a union of these supports no arithmetic in mypy
"""A number, or an array of NumPy or JAX, that is reckoned with."""
Keys = jax.Array
"""Typed random keys, one per sample: (b,)."""
ALIGNMENT = 64
"""Bytes at whose multiples XLA's arrays of a CPU begin."""


def power_of_two(count: int, least: int) -> int:
    """Return the least power of 2 that is at least `count` and `least`; `least` is itself a power of 2.

    Arrays that are padded to this length need few programs for all counts.
    """
    return max(least, 1 << (count - 1).bit_length())


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array whose memory JAX takes over on a CPU instead of copying it. Its values are not set."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)


def is_concrete(value: object) -> bool:
    """Whether the value is concrete, not a tracer."""
    return not isinstance(value, jax.core.Tracer)


def namespace(value: object) -> ModuleType:
    """Return numpy for NumPy's arrays and numbers, and jax.numpy for all else.

    Tables of NumPy thus keep float64 where JAX has 32 bits.
    """
    return np if isinstance(value, np.ndarray | np.generic) else jnp


def logistic(value: Numeric) -> Numeric:
    """The logistic 1 / (1 + exp(-value)) in the value's own namespace, with full relative precision in both tails."""
    return jax.nn.sigmoid(value) if namespace(value) is jnp else scipy.special.expit(value)


def expand(value: Scalar, like: ArrayLike) -> jax.Array:
    """A number per batch or per sample, shaped to broadcast against its samples.

    Args:
        value: () or (b,).
        like: (b, …) the samples, whose dtype and rank the result has.

    Raises:
        TypeError: for samples that are no floating array: the number would be rounded to their whole numbers.
        ValueError: for any other shape.
    """
    if not jnp.issubdtype(like.dtype, jnp.floating):
        raise TypeError(f"samples must be floating, got {like.dtype} of shape {like.shape}: use x.astype(jnp.float32)")
    # like may be float64 NumPy where JAX has 32 bits
    array = jnp.asarray(value).astype(jax.dtypes.canonicalize_dtype(like.dtype))
    if array.ndim == 0:
        return array.reshape((1,) * like.ndim)
    if like.ndim == 0 or array.shape != like.shape[:1]:
        raise ValueError(
            f"a value per batch () or per sample {like.shape[:1]} is needed for an array of shape {like.shape}, got "
            f"{array.shape}"
        )
    return array.reshape(like.shape[:1] + (1,) * (like.ndim - 1))


def safe_sqrt(value: ArrayLike | float) -> jax.Array:
    """The root sqrt(max(value, 0)), whose gradient at and below zero is 0, not NaN or infinity."""
    array = jnp.asarray(value)
    positive = array > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, array, jnp.ones_like(array))), jnp.zeros_like(array))


def safe_divide(numerator: ArrayLike | float, denominator: ArrayLike | float, otherwise: float = 0.0) -> jax.Array:
    """The quotient, and `otherwise` (with zero gradient) where the denominator is 0."""
    below = jnp.asarray(denominator)
    usable = below != 0
    quotient = jnp.asarray(numerator) / jnp.where(usable, below, jnp.ones_like(below))
    return jnp.where(usable, quotient, jnp.full_like(quotient, otherwise))


def argmax(values: ArrayLike) -> jax.Array:
    """Return the first index of the largest number along the last axis, and the last index where one is NaN.

    Of 50,000 numbers it is many times as fast on a CPU as XLA's own reduction, which carries value and place together.
    """
    numbers = jax.lax.stop_gradient(jnp.asarray(values))  # a place has no derivative, so the maximum needs none
    places = jax.lax.broadcasted_iota(jnp.int32, numbers.shape, numbers.ndim - 1)
    return jnp.min(jnp.where(numbers == jnp.max(numbers, -1, keepdims=True), places, numbers.shape[-1] - 1), -1)


def at_least_float32(dtype: np.dtype) -> np.dtype:
    """The floating dtype, or float32 for a narrower one, since half precision is too coarse for coefficients.

    Works under strict promotion.
    """
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def widened(values: ArrayLike) -> jax.Array:
    """The numbers in their floating dtype, or in float32 for a narrower one."""
    array = jnp.asarray(values)
    return array.astype(at_least_float32(array.dtype))


def zero_per_sample(x: jax.Array, dtype: DType) -> jax.Array:
    """Zeros (b,) for x (b, …), made from x: inside `shard_map` they vary over the mesh as x does."""
    return jnp.sum(jnp.zeros_like(x), axis=tuple(range(1, x.ndim))).astype(dtype)


def normal(keys: Keys, like: ArrayLike | jax.ShapeDtypeStruct) -> jax.Array:
    """Standard normal noise of the shape and dtype of `like` (b, …), from one key (b,) per sample.

    No sample depends on its neighbours.
    """
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)


def fold_in(keys: Keys, value: int | np.integer | ArrayLike) -> Keys:
    """Each of the keys (b,) folded with one value (), such as the number of a step."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, value)


def flatten_samples(x: ArrayLike) -> jax.Array:
    """The samples (b, …) as (b, d)."""
    return jnp.asarray(x).reshape(x.shape[0], -1)


def rms(x: ArrayLike) -> jax.Array:
    """The root of the mean square, ()."""
    return jnp.sqrt(jnp.mean(jnp.square(jnp.asarray(x))))
