"""The random key of a sample: a function of the call's key and the sample's index alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from gendiff.core import arrays, checks
from gendiff.core.arrays import ArrayLike, DType, Keys


def keys_of(key: jax.Array, index: Integer[ArrayLike, "b"]) -> Keys:
    """The key of each sample (b,): fold_in(key, index[i]).

    Args:
        key: one typed key.
        index: (b,) integers 0 … 2**32 - 1 that name the samples.

    Raises:
        TypeError: for a legacy or missing key, for one of a generator whose draws depend on the batch, and for an index
            that holds no integers.
        ValueError: for a batch of keys, and a concrete negative index.
    """
    check_key(key)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, checked_index(index))


def first_noise(keys: Keys, shape: tuple[int, ...], dtype: DType) -> Float[Array, "..."]:
    """The standard normal noise (b, *shape) of x_T, from fold_in(keys[i], 0)."""
    noise = arrays.normal(arrays.fold_in(keys, 0), jax.ShapeDtypeStruct((*keys.shape, *shape), dtype))
    fixed: Array = jax.lax.optimization_barrier(noise)  # or XLA folds sigma_0 into its last bit
    return fixed


def check_key(key: jax.Array) -> None:
    """As `checks.one_key`, and TypeError for a generator whose draws under `vmap` are not each key's own."""
    checks.one_key("key", key)
    if str(jax.random.key_impl(key)) in ("rbg", "unsafe_rbg"):
        raise TypeError(
            f"key uses the generator {jax.random.key_impl(key)}, whose noise of all samples comes from the first "
            "one's key: make it by jax.random.key(seed, impl='threefry2x32')"
        )


def checked_index(index: ArrayLike) -> Array:
    """The index (b,) as an array that JAX does not wrap around. Raises as `keys_of` does for what is none."""
    if not isinstance(index, jax.Array | np.ndarray):
        raise TypeError(
            f"index must be an array of integers that name the samples, such as jnp.arange(4), got {index!r}"
        )
    if index.ndim != 1:
        raise ValueError(f"index must have one axis, an integer for each sample, got shape {index.shape}")
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(f"index must hold integers, got {index.dtype}")
    checks.in_range("index", index, 0.0, 2.0**32 - 1)  # a negative one would be the alias of a large one
    if isinstance(index, np.ndarray) and index.size and index.max() >= 2**31:
        index = index.astype(np.uint32)  # int32, which JAX makes of it, would wrap around
    return jnp.asarray(index)
