"""Parameters that stay packed in memory, in place of arrays, such as quantised weights.

`weights.quantised` has the kinds.
"""

import abc
import math

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core.types import ArrayLike, DType, Params


class PackedKernel(abc.ABC):
    """A record in the place of an array of parameters: a layer's kernel (…, in, out), or a table (v, d) of tokens.

    `dense` gives that array. Kinds that compute with what is packed replace the products, which go through `dense`
    here.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of the array it stands for."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype:
        """The floating dtype of the array it stands for, at least float32."""

    @abc.abstractmethod
    def dense(self, dtype: DType) -> jax.Array:
        """Return the array it stands for, in a floating dtype."""

    def product(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, in) by the kernel (in, out), in the dtype of x."""
        return jnp.matmul(x.reshape(-1, x.shape[-1]), self.dense(x.dtype), precision=precision).reshape(
            *x.shape[:-1], self.shape[-1]
        )

    def rows(self, ids: jax.Array) -> jax.Array:
        """Return rows of the table: (…, d) for ids (…) from 0 … v − 1."""
        return self.dense(self.dtype)[ids]

    def product_with_rows(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, d) by each row of the table: (…, v), accumulated and answered in at least float32."""
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        flat = jnp.matmul(
            x.reshape(-1, x.shape[-1]), self.dense(x.dtype).T, precision=precision, preferred_element_type=dtype
        )
        return flat.reshape(*x.shape[:-1], self.shape[0])


def is_packed(value: object) -> bool:
    """Whether it is a PackedKernel, as the `is_leaf` of `jax.tree.map` asks."""
    return isinstance(value, PackedKernel)


def as_array(value: ArrayLike | PackedKernel, dtype: DType) -> jax.Array:
    """An array or a packed kernel as an array of this dtype."""
    return value.dense(dtype) if isinstance(value, PackedKernel) else jnp.asarray(value, dtype)


def size(value: ArrayLike | jax.ShapeDtypeStruct | PackedKernel) -> int:
    """How many numbers an array or a packed kernel stands for."""
    return math.prod(value.shape)


def leaves(params: Params) -> list[ArrayLike | jax.ShapeDtypeStruct | PackedKernel]:
    """The arrays and the packed kernels of a tree, each kernel as one."""
    leaves: list[ArrayLike | jax.ShapeDtypeStruct | PackedKernel] = jax.tree.leaves(params, is_leaf=is_packed)
    return leaves
