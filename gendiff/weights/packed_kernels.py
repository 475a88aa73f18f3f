"""How packed kernels lie in memory, and how networks compute with them. `quantised` makes them.

All have their outputs first: weights (out, in), as the products of `integer_products` read them fastest and as GGUF files hold them. A
kernel (…, in, out) is therefore stored the other way round, a table of tokens (v, d) as it is: its rows are the outputs of the last layer.
"""

import abc
import math
from typing import Any

import jax
import jax.numpy as jnp

from gendiff.core import arrays
from gendiff.core.packed import PackedKernel
from gendiff.core.records import record, static
from gendiff.weights import integer_products


class StoredByOutput(PackedKernel):
    """A packed kernel whose scale is one per output and group of inputs.

    Attributes:
        scale: (out or 1, groups).
        sizes: the shape of the array it stands for.
        table: whether that array has its outputs first, as a table (v, d), or last, as a kernel.
    """

    scale: Any
    sizes: tuple[int, ...]
    table: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array it stands for."""
        return self.sizes

    @property
    def dtype(self) -> Any:
        """At least float32."""
        return arrays.at_least_float32(self.scale.dtype)

    @property
    def inputs(self) -> int:
        """How many numbers each output is a sum of."""
        return math.prod(self.sizes) // self.outputs

    @property
    def outputs(self) -> int:
        """How many outputs there are."""
        return self.sizes[0 if self.table else -1]

    @abc.abstractmethod
    def unpacked(self, chosen: Any, dtype: Any) -> jax.Array:
        """Weights (…, in) of the chosen outputs, an index or a slice."""

    @abc.abstractmethod
    def contracted(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (r, in) with the weights: (r, out) in at least float32."""

    def dense(self, dtype: Any) -> jax.Array:
        """Return the array it stands for."""
        weights = self.unpacked(slice(None), dtype)
        return (weights if self.table else weights.T).reshape(self.sizes)

    def product(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, in) by the kernel (in, out), in the dtype of x."""
        self._check(False, x)
        return self.contracted(x.reshape(-1, x.shape[-1]), precision).astype(x.dtype).reshape(*x.shape[:-1], self.outputs)

    def rows(self, ids: jax.Array) -> jax.Array:
        """Return rows of the table."""
        return self.unpacked(ids, self.dtype) if self.table else self.dense(self.dtype)[ids]

    def product_with_rows(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, d) by each row of the table: (…, v) in at least float32."""
        self._check(True, x)
        return self.contracted(x.reshape(-1, x.shape[-1]), precision).reshape(*x.shape[:-1], self.outputs)

    def _check(self, table: bool, x: jax.Array) -> None:
        if table != self.table or len(self.sizes) != 2 or x.shape[-1] != self.inputs:
            kind = "table" if self.table else "kernel"
            raise ValueError(f"x of shape {x.shape} cannot be multiplied with the packed {kind} of shape {self.sizes}")


@record
class ScaledKernel(StoredByOutput):
    """Weights = values · scale.

    Args:
        values: (out, in) int8 or float8.
        scale: (out or 1, groups): one per output has one group, one for all has shape (1, 1).
        sizes: the shape of the array.
        table: whether it has its outputs first.
    """

    values: Any
    scale: Any
    sizes: tuple[int, ...] = static()
    table: bool = static(default=False)

    def unpacked(self, chosen: Any, dtype: Any) -> jax.Array:
        """Weights (…, in) of the chosen outputs."""
        accumulate = jnp.promote_types(dtype, self.dtype)
        values = self.values[chosen]
        scale = (self.scale[chosen] if self.scale.shape[0] > 1 else self.scale).astype(accumulate)
        groups = values.astype(accumulate).reshape(*values.shape[:-1], self.scale.shape[1], -1)
        scale = scale.reshape((1,) * (groups.ndim - scale.ndim - 1) + (*scale.shape, 1))
        return (groups * scale).reshape(values.shape).astype(dtype)

    def contracted(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (r, in) with the weights: (r, out)."""
        digits, groups = integer_products.by_digits(x, self.values), self.scale.shape[1]
        if groups == 1:
            y = integer_products.digit_product(x, self.values) if digits else integer_products.converted(x, self.values, precision)
            return y * self.scale.astype(y.dtype).reshape(1, -1)
        if digits and x.shape[0] == 1:
            return _summed(integer_products.group_sums(x, (self.values.reshape(self.outputs, groups, -1),), 0), self.scale)
        return integer_products.converted(x, self.unpacked(slice(None), x.dtype), precision)


@record
class NibbleKernel(StoredByOutput):
    """Weights = nibble · scale + minimum, or (nibble − 8) · scale without minimum, for nibbles 0 … 15.

    Byte j of a group of n holds input j in its low nibble and input j + n / 2 in its high one, as in a block of GGUF.

    Args:
        values: (out, bytes) uint8. Inputs that fill up the last group mean nothing.
        scale: (out, groups).
        minimum: (out, groups), or None.
        sizes: the shape of the array.
        table: whether it has its outputs first.
    """

    values: Any
    scale: Any
    minimum: Any
    sizes: tuple[int, ...] = static()
    table: bool = static(default=False)

    def unpacked(self, chosen: Any, dtype: Any) -> jax.Array:
        """Weights (…, in) of the chosen outputs."""
        accumulate = jnp.promote_types(dtype, self.dtype)
        values, scale = self.values[chosen], self.scale[chosen].astype(accumulate)[..., None]
        nibbles = unpack(values.reshape(*scale.shape[:-1], -1)).astype(accumulate)
        minimum = -8 * scale if self.minimum is None else self.minimum[chosen].astype(accumulate)[..., None]
        return (nibbles * scale + minimum).reshape(*values.shape[:-1], -1)[..., : self.inputs].astype(dtype)

    def contracted(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (r, in) with the weights: (r, out)."""
        if x.shape[0] > 1 or not integer_products.by_digits(x, self.values):
            return integer_products.converted(x, self.unpacked(slice(None), x.dtype), precision)
        x = jnp.pad(x, ((0, 0), (0, 2 * self.values.shape[-1] - self.inputs)))
        bytes_ = self.values.reshape(*self.scale.shape, -1)
        y = _summed(integer_products.group_sums(x, (bytes_ & 15, bytes_ >> 4), 8 if self.minimum is None else 0), self.scale)
        if self.minimum is None:
            return y
        return y + jnp.sum(x.astype(y.dtype).reshape(1, self.minimum.shape[1], -1), -1) @ self.minimum.astype(y.dtype).T


@record
class JoinedKernel(PackedKernel):
    """Kernels with the same inputs side by side: what is one layer here and several in a file, each packed in its own way.

    Args:
        parts: PackedKernels of shapes (in, out).
    """

    parts: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(in, all outputs)."""
        return (self.parts[0].shape[0], sum(part.shape[1] for part in self.parts))

    @property
    def dtype(self) -> Any:
        """That of the parts."""
        return jnp.result_type(*(part.dtype for part in self.parts))

    def dense(self, dtype: Any) -> jax.Array:
        """Return the array it stands for."""
        return jnp.concatenate([part.dense(dtype) for part in self.parts], -1)

    def product(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, in) by the kernel (in, out), in the dtype of x."""
        return jnp.concatenate([part.product(x, precision) for part in self.parts], -1)


def pack(nibbles: jax.Array) -> jax.Array:
    """Pack numbers 0 … 15, (…, n), into bytes (…, n / 2): the first half is in the low nibbles, the second in the high ones."""
    low, high = jnp.split(nibbles.astype(jnp.uint8), 2, -1)
    return low | (high << 4)


def unpack(values: jax.Array) -> jax.Array:
    """Invert `pack`: bytes (…, n / 2) to numbers 0 … 15, (…, n)."""
    return jnp.concatenate([values & 15, values >> 4], -1)


def _summed(sums: jax.Array, scale: jax.Array) -> jax.Array:
    """Sums of groups (r, out, groups), each times its scale: (r, out)."""
    return jnp.sum(sums * scale.astype(sums.dtype)[None], -1)
