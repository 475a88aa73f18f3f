"""How packed kernels lie in memory, and how networks compute with them. `quantised` and `gguf_blocks` make them.

Those with a scale per output have their outputs first: weights (out, in), as the products of `integer_products` read
them fastest. A kernel (…, in, out) is therefore stored the other way round, a table of tokens (v, d) as it is: its rows
are the outputs of the last layer. Those with scales of groups of inputs have their outputs last.
"""

import abc
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays
from gendiff.core.packed import PackedKernel
from gendiff.core.records import record, static
from gendiff.core.types import DType
from gendiff.weights.quantised import integer_products

CODES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""What the nibbles of a CodedKernel stand for."""


@record
class SteppedScale:
    """Scales of 8 bits: each is an integer times a unit, which neighbouring groups of inputs share.

    Args:
        unit: (groups / n, out) float16.
        steps: (groups, out) int8 or uint8.
    """

    unit: jax.Array
    steps: jax.Array

    @property
    def dtype(self) -> np.dtype:
        """That of the unit."""
        return self.unit.dtype

    def __getitem__(self, index: tuple[slice, slice | jax.Array]) -> "SteppedScale":
        """Return the scales of all groups for some outputs."""
        return SteppedScale(self.unit[index], self.steps[index])

    def astype(self, dtype: DType) -> jax.Array:
        """Return the scales (groups, …), which float32 holds exactly."""
        shape = self.steps.shape
        steps = self.steps.reshape(len(self.unit), -1, *shape[1:]).astype(dtype)
        return (self.unit[:, None].astype(dtype) * steps).reshape(shape)


class PackedMatrix(PackedKernel):
    """A packed kernel with outputs, and a scale of them.

    Attributes:
        scale: of its values.
        sizes: the shape of the array it stands for.
        table: whether that array has its outputs first, as a table (v, d), or last, as a kernel.
    """

    scale: jax.Array | SteppedScale
    sizes: tuple[int, ...]
    table: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array it stands for."""
        return self.sizes

    @property
    def dtype(self) -> np.dtype:
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
    def unpacked(self, chosen: slice | jax.Array, dtype: DType) -> jax.Array:
        """Weights (…, in) of the chosen outputs, an index or a slice."""

    @abc.abstractmethod
    def contracted(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (r, in) with the weights: (r, out) in at least float32."""

    def dense(self, dtype: DType) -> jax.Array:
        """Return the array it stands for."""
        weights = self.unpacked(slice(None), dtype)
        return (weights if self.table else weights.T).reshape(self.sizes)

    def product(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, in) by the kernel (in, out), in the dtype of x."""
        self._check(False, x)
        return self._contracted_once(x, precision).astype(x.dtype)

    def rows(self, ids: jax.Array) -> jax.Array:
        """Return rows of the table."""
        return self.unpacked(ids, self.dtype) if self.table else self.dense(self.dtype)[ids]

    def product_with_rows(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, d) by each row of the table: (…, v) in at least float32."""
        self._check(True, x)
        return self._contracted_once(x, precision)

    def _contracted_once(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (…, in): (…, out) in at least float32."""
        y: jax.Array = _contracted(self, x.reshape(-1, x.shape[-1]), precision)
        return y.reshape(*x.shape[:-1], self.outputs)

    def _check(self, table: bool, x: jax.Array) -> None:
        if table != self.table or len(self.sizes) != 2 or x.shape[-1] != self.inputs:
            kind = "table" if self.table else "kernel"
            raise ValueError(f"x of shape {x.shape} cannot be multiplied with the packed {kind} of shape {self.sizes}")


@functools.partial(jax.jit, static_argnums=2)
def _contracted(kernel: PackedMatrix, x: jax.Array, precision: str | None) -> jax.Array:
    """`kernel.contracted`, traced and lowered once for all layers of one form and shape."""
    return kernel.contracted(x, precision)


@record
class ScaledKernel(PackedMatrix):
    """Weights = values · scale, with one scale per output, or one for all.

    Args:
        values: (out, in) int8 or float8.
        scale: (out or 1, 1).
        sizes: the shape of the array.
        table: whether it has its outputs first.
    """

    values: jax.Array
    scale: jax.Array
    sizes: tuple[int, ...] = static()
    table: bool = static(default=False)

    def unpacked(self, chosen: slice | jax.Array, dtype: DType) -> jax.Array:
        """Weights (…, in) of the chosen outputs."""
        accumulate = jnp.promote_types(dtype, self.dtype)
        values = self.values[chosen]
        scale = (self.scale[chosen] if self.scale.shape[0] > 1 else self.scale).astype(accumulate)
        return (values.astype(accumulate) * scale.reshape((1,) * (values.ndim - scale.ndim) + scale.shape)).astype(
            dtype
        )

    def contracted(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (r, in) with the weights: (r, out)."""
        digits = integer_products.by_digits(x, self.values)
        y = (
            integer_products.digit_product(x, self.values)
            if digits
            else integer_products.converted(x, self.values, precision)
        )
        return y * self.scale.astype(y.dtype).reshape(1, -1)


@record
class HalfKernel(PackedMatrix):
    """Weights of 16 bits as they are.

    Args:
        values: (out, in) float16 or bfloat16.
        sizes: the shape of the array.
        table: whether it has its outputs first.
    """

    values: jax.Array
    sizes: tuple[int, ...] = static()
    table: bool = static(default=False)

    @property
    def dtype(self) -> np.dtype:
        """float32."""
        return arrays.at_least_float32(self.values.dtype)

    def unpacked(self, chosen: slice | jax.Array, dtype: DType) -> jax.Array:
        """Weights (…, in) of the chosen outputs."""
        return self.values[chosen].astype(dtype)

    def contracted(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (r, in) with the weights: (r, out)."""
        return integer_products.converted(x, self.values, precision)


@record
class StoredByGroup(PackedMatrix):
    """A packed kernel with scales of groups of inputs, whose outputs lie side by side.

    Args:
        values: (groups, n, out). Inputs that fill up the last group mean nothing.
        scale: (groups, out).
        minimum: (groups, out), what is added to each weight, or None.
        sizes: the shape of the array.
        table: whether it has its outputs first.
    """

    values: jax.Array
    scale: jax.Array | SteppedScale
    minimum: jax.Array | SteppedScale | None
    sizes: tuple[int, ...] = static()
    table: bool = static(default=False)
    zero: ClassVar[int]
    """What zero is stored as, where there is no minimum."""
    each: ClassVar[int]
    """How many integers a value holds."""

    @staticmethod
    @abc.abstractmethod
    def parts(values: jax.Array) -> tuple[jax.Array, ...]:
        """The integers that values hold: first those of the first inputs of each group, and so on."""

    @property
    def offset(self) -> int:
        """What zero is stored as."""
        return self.zero if self.minimum is None else 0

    def unpacked(self, chosen: slice | jax.Array, dtype: DType) -> jax.Array:
        """Weights (…, in) of the chosen outputs."""
        return jnp.moveaxis(self._weights(chosen, dtype), 0, -1)

    def contracted(self, x: jax.Array, precision: str | None) -> jax.Array:
        """Multiply (r, in) with the weights: (r, out)."""
        one = isinstance(x.shape[0], int) and x.shape[0] == 1  # a program may be exported for any number of rows
        if not one or not integer_products.by_digits(x, self.values):
            # the first barrier has weights unpacked when their turn comes, not those of all layers at the start;
            # without the second one XLA:CPU unpacks inside of the product, anew for each row
            kernel = integer_products.after(x, self)
            weights = jax.lax.optimization_barrier(kernel._weights(slice(None), x.dtype))
            return jnp.matmul(
                x, weights, precision=precision, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32)
            )
        groups, size = self.values.shape[0], self.values.shape[1] * self.each
        x = jnp.pad(x, ((0, 0), (0, groups * size - self.inputs)))
        sums = integer_products.group_sums(self.parts, self.offset, x, self.values)
        y = jnp.sum(sums * self.scale.astype(sums.dtype), 0, keepdims=True)
        if self.minimum is None:
            return y
        return y + jnp.sum(x.astype(y.dtype).reshape(1, groups, size), -1) @ self.minimum.astype(y.dtype)

    def _weights(self, chosen: slice | jax.Array, dtype: DType) -> jax.Array:
        """(in, …) of the chosen outputs."""
        accumulate = jnp.promote_types(dtype, self.dtype)
        integers = jnp.concatenate(self.parts(self.values[:, :, chosen]), 1)
        weights = (integers.astype(accumulate) - self.offset) * self.scale[:, chosen].astype(accumulate)[:, None]
        if self.minimum is not None:
            weights = weights + self.minimum[:, chosen].astype(accumulate)[:, None]
        return weights.reshape(-1, *weights.shape[2:])[: self.inputs].astype(dtype)


@record
class GroupedKernel(StoredByGroup):
    """Weights = values · scale, for int8 values (groups, size of a group, out): a scale per output and group."""

    zero: ClassVar[int] = 0
    each: ClassVar[int] = 1

    @staticmethod
    def parts(values: jax.Array) -> tuple[jax.Array, ...]:
        """The values themselves."""
        return (values,)


@record
class NibbleKernel(StoredByGroup):
    """Weights = nibble · scale + minimum, or (nibble − 8) · scale without minimum, for nibbles 0 … 15.

    Byte j of a group of n holds input j in its low nibble and input j + n / 2 in its high one, as in a block of GGUF:
    the values are uint8 (groups, n / 2, out).
    """

    zero: ClassVar[int] = 8
    each: ClassVar[int] = 2

    @staticmethod
    def parts(values: jax.Array) -> tuple[jax.Array, ...]:
        """The low nibbles and the high ones."""
        return values & 15, values >> 4


@record
class QuarterKernel(StoredByGroup):
    """Weights = number · scale + minimum, for numbers 0 … 3, of which a byte holds four.

    The values are uint8 (groups, n / 4, out): the lowest bits are the first n / 4 inputs of a group, and so on.
    """

    zero: ClassVar[int] = 0
    each: ClassVar[int] = 4

    @staticmethod
    def parts(values: jax.Array) -> tuple[jax.Array, ...]:
        """The numbers, those of the lowest bits first."""
        return tuple(values >> shift & 3 for shift in (0, 2, 4, 6))


@record
class CodedKernel(StoredByGroup):
    """Weights = CODES[nibble] · scale, whose 16 integers stand closer together near 0; nibbles lie as in NibbleKernel.

    References:
        ggml's kvalues_iq4nl, as in `gguf.quants.IQ4_NL`.
    """

    zero: ClassVar[int] = 0
    each: ClassVar[int] = 2

    @staticmethod
    def parts(values: jax.Array) -> tuple[jax.Array, ...]:
        """The integers of the low nibbles and those of the high ones."""
        codes = jnp.asarray(CODES, jnp.int8)
        return tuple(codes.at[nibbles].get(mode="promise_in_bounds") for nibbles in (values & 15, values >> 4))


@record
class JoinedKernel(PackedKernel):
    """Kernels with the same inputs side by side, each packed in its own way: one layer here, several in a file.

    Args:
        parts: PackedKernels of shapes (in, out).
    """

    parts: tuple[PackedKernel, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(in, all outputs)."""
        return (self.parts[0].shape[0], sum(part.shape[1] for part in self.parts))

    @property
    def dtype(self) -> np.dtype:
        """That of the parts."""
        return jnp.result_type(*(part.dtype for part in self.parts))

    def dense(self, dtype: DType) -> jax.Array:
        """Return the array it stands for."""
        return jnp.concatenate([part.dense(dtype) for part in self.parts], -1)

    def product(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, in) by the kernel (in, out), in the dtype of x."""
        return jnp.concatenate([part.product(x, precision) for part in self.parts], -1)


def pack(nibbles: jax.Array) -> jax.Array:
    """Pack numbers 0 … 15, (groups, n, out), into bytes (groups, n / 2, out): low nibbles hold the first half."""
    low, high = jnp.split(nibbles.astype(jnp.uint8), 2, 1)
    return low | (high << 4)
