"""Files of weights read straight into packed kernels: loading needs the memory of packed parameters and one array.

`maker` rounds kernels, each of which reports its error, so that the error of a storage is known before anything is
drawn. `as_stored` leaves them as their file has them.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays, packed, records
from gendiff.core.packed import PackedKernel
from gendiff.core.types import ArrayLike, DType, PyTree
from gendiff.weights import layouts, streamed
from gendiff.weights.quantised import gguf_blocks, quantisation
from gendiff.weights.quantised.gguf import Packed
from gendiff.weights.quantised.packed_kernels import HalfKernel, JoinedKernel, PackedMatrix, ScaledKernel
from gendiff.weights.quantised.quantisation import Kind, Packing
from gendiff.weights.rules import ForeignArray, Maker, Rule, Shape
from gendiff.weights.streamed import StoredArray

KERNEL, TABLE = "kernel", "token"
"""How the paths of kernels and of tables of tokens end."""


class Rounding(NamedTuple):
    """The rounding error of one packed array or several.

    Attributes:
        numbers: how many numbers they are.
        nbytes: how many bytes they take packed.
        squares: the sum of their squares.
        lost: the sum of the squares of what they are off by.
    """

    numbers: int
    nbytes: int
    squares: float
    lost: float

    @property
    def relative(self) -> float:
        """Root mean square of what they are off by, over that of the numbers themselves; 0 for zeros."""
        return math.sqrt(self.lost / self.squares) if self.squares else 0.0


OnPacked = Callable[[str, Rounding], None]
"""(path of a parameter, what packing lost of it)."""


def together(roundings: Iterable[Rounding]) -> Rounding:
    """Return the rounding error of all of them."""
    return Rounding(*(sum(values) for values in zip(Rounding(0, 0, 0.0, 0.0), *roundings, strict=True)))


def rounded(array: ArrayLike, kind: Kind, *, table: bool = False) -> tuple[PackedKernel, Rounding]:
    """Pack one array as `quantised.packed_array` does, and measure what that loses.

    Args:
        array: a kernel (…, in, out) or a table (v, d).
        kind: `quantised.int8()`, `quantised.int4()` or `quantised.float8()`.
        table: whether it is a table.

    Raises:
        TypeError: as `quantised.packed_array` does.
        ValueError: as `quantised.packed_array` does.
    """
    kernel = quantisation.packed_array(array, kind, table=table)
    squares, lost = _squares(array, kernel)
    return kernel, Rounding(packed.size(kernel), quantisation.nbytes(kernel), float(squares), float(lost))


def maker(rules: Sequence[Packing], on_packed: OnPacked | None = None) -> Maker:
    """Return a `maker` for `rules.to_ours` that packs each array as soon as it is read.

    An array is packed from float32, whatever the dtype of the other parameters.

    Args:
        rules: the first that fits an array packs it, as for `quantised.quantise`. Others become arrays.
        on_packed: is told of each array that is packed.
    """

    def make(
        path: str, rule: Rule, parts: list[ForeignArray], expected: Shape, read: Callable[[DType], jax.Array]
    ) -> jax.Array | PackedKernel:
        axes = len(expected.shape)
        chosen = next((each for each in rules if re.search(each.paths, path) and axes in each.axes), None)
        if chosen is None or chosen.kind is None:
            return read(expected.dtype)
        kernel, rounding = rounded(read(arrays.at_least_float32(expected.dtype)), chosen.kind, table=chosen.table)
        if on_packed is not None:
            on_packed(path, rounding)
        return kernel

    return make


def as_stored(
    path: str, rule: Rule, parts: list[ForeignArray], expected: Shape, read: Callable[[DType], jax.Array]
) -> jax.Array | PackedKernel:
    """A `maker` for `rules.to_ours` that leaves kernels and tables of tokens as their file has them.

    Those are matrices in blocks of GGUF, and arrays of 8 bits, with their scales, or of fewer bits than the other
    parameters. They stand for the numbers that `read` gives. All else becomes an array of the dtype of `expected`.

    Also known as: weights as they are on disk, on-the-fly dequantisation.
    """
    leaf = path.rpartition("/")[2]
    if leaf not in (KERNEL, TABLE) or len(expected.shape) < 2:
        return read(expected.dtype)
    kernel = _of_blocks(rule, parts, leaf == TABLE)
    if kernel is None:
        kernel = _of_numbers(rule, parts, expected, leaf == TABLE)
    return read(expected.dtype) if kernel is None else kernel


def shapes_as_stored(
    path: str, rule: Rule, parts: list[ForeignArray], expected: Shape, read: Callable[[DType], jax.Array]
) -> PyTree:
    """A `maker` for `rules.to_ours` that gives the shapes of what `as_stored` makes, and reads no array."""
    leaf = path.rpartition("/")[2]
    full = jax.ShapeDtypeStruct(expected.shape, expected.dtype)
    if leaf not in (KERNEL, TABLE) or len(expected.shape) < 2:
        return full
    table = leaf == TABLE
    if (matrices := _matrices(rule, parts, table)) is not None:
        kernels = [_one_output(part, table) for part in matrices]
        if len({part.kind for part in matrices}) == 1:
            return _with_outputs(kernels[0], sum(part.shape[0] for part in matrices))
        return JoinedKernel(
            tuple(_with_outputs(kernel, part.shape[0]) for kernel, part in zip(kernels, matrices, strict=True))
        )
    if (dtype := _small_dtype(rule, parts, expected)) is None:
        return full
    outputs = expected.shape[0 if table else -1]
    sizes = tuple(expected.shape)
    values: PyTree = jax.ShapeDtypeStruct((outputs, math.prod(sizes) // outputs), dtype)
    if dtype not in streamed.EIGHT_BITS:
        return HalfKernel(values, sizes, table)
    scaled = any(isinstance(part, StoredArray) and part.scale is not None for part in parts)
    scale: PyTree = jax.ShapeDtypeStruct((outputs if scaled else 1, 1), jnp.float32)
    return ScaledKernel(values, scale, sizes, table)


def _one_output(part: Packed, table: bool) -> PackedKernel:
    """A packed kernel of one output of a matrix, of zeros."""
    inputs = part.shape[1]
    row = np.zeros((1, part.blocks.shape[-1]), np.uint8)
    return gguf_blocks.kernel(part.kind, row, (1, inputs) if table else (inputs, 1), table=table)


def _with_outputs(kernel: PackedKernel, outputs: int) -> PackedKernel:
    """The shapes of a kernel of one output with so many."""
    first = isinstance(kernel, HalfKernel)
    shapes: PackedMatrix = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (outputs, *leaf.shape[1:]) if first else (*leaf.shape[:-1], outputs), leaf.dtype
        ),
        kernel,
    )
    sizes = (outputs, shapes.inputs) if shapes.table else (shapes.inputs, outputs)
    return records.replace(shapes, sizes=sizes)


@jax.jit
def _squares(array: jax.Array, kernel: PackedKernel) -> tuple[jax.Array, jax.Array]:
    """The sums of the squares of the numbers, and of what they are off by."""
    return jnp.sum(jnp.square(array)), jnp.sum(jnp.square(kernel.dense(kernel.dtype) - array))


def _matrices(rule: Rule, parts: list[ForeignArray], table: bool) -> list[Packed] | None:
    """The parts of one layer in blocks, or None where a part is none, or its rule cuts blocks."""
    orders = rule.layouts_of_parts
    rows_stay = all(orders == (layouts.SAME,) if table else _of_rows(order) for order in orders)
    matrices = [part for part in parts if isinstance(part, Packed) and part.kind in gguf_blocks.KINDS]
    fits = rows_stay and len(matrices) == len(parts) and all(part.ndim == 2 for part in matrices)
    return matrices if fits else None


def _of_blocks(rule: Rule, parts: list[ForeignArray], table: bool) -> PackedKernel | None:
    """One layer of matrices in blocks, or None where `_matrices` gives none."""
    matrices, orders = _matrices(rule, parts, table), rule.layouts_of_parts
    if matrices is None:
        return None
    if table:
        return gguf_blocks.kernel(matrices[0].kind, matrices[0].blocks, matrices[0].shape, table=True)
    inputs, kinds = matrices[0].shape[1], [part.kind for part in matrices]
    rows = [order.ours(part.blocks).T for part, order in zip(matrices, orders, strict=True)]
    if len(set(kinds)) == 1:
        kinds, rows = kinds[:1], [np.concatenate(rows)]
    kernels = [gguf_blocks.kernel(kind, raw, (inputs, len(raw))) for kind, raw in zip(kinds, rows, strict=True)]
    return kernels[0] if len(kernels) == 1 else JoinedKernel(tuple(kernels))


def _small_dtype(rule: Rule, parts: list[ForeignArray], expected: Shape) -> np.dtype | None:
    """The dtype of one layer of numbers of 8 or 16 bits, or None where parts differ or an array is as small."""
    dtype = np.dtype(parts[0].dtype)
    if any(isinstance(part, Packed) for part in parts) or {np.dtype(part.dtype) for part in parts} != {dtype}:
        return None
    small = dtype in streamed.EIGHT_BITS
    if not small and (dtype not in gguf_blocks.HALVES.values() or dtype.itemsize >= expected.dtype.itemsize):
        return None
    if small and any(isinstance(order, layouts.ScaledOutputs) for order in rule.layouts_of_parts):
        return None  # beyond what 8 bits hold
    return dtype


def _of_numbers(rule: Rule, parts: list[ForeignArray], expected: Shape, table: bool) -> PackedKernel | None:
    """One layer of numbers of 8 or 16 bits, or None where `_small_dtype` gives none."""
    dtype, sizes = _small_dtype(rule, parts, expected), tuple(expected.shape)
    if dtype is None:
        return None
    scales = [part.scale if isinstance(part, StoredArray) else None for part in parts]
    bare = [dataclasses.replace(part, scale=None) if isinstance(part, StoredArray) else part for part in parts]
    array = rule.joined([np.asarray(part) for part in bare])
    values = jnp.asarray(np.ascontiguousarray(array if table else array.reshape(-1, array.shape[-1]).T))
    if dtype not in streamed.EIGHT_BITS:
        return HalfKernel(values, sizes, table)
    if not any(scales):
        return ScaledKernel(values, jnp.ones((1, 1)), sizes, table)
    columns = []
    for part, scale, order in zip(parts, scales, rule.layouts_of_parts, strict=True):
        column = np.ones((1, 1), np.float32) if scale is None else np.asarray(scale, np.float32).reshape(-1, 1)
        column = np.broadcast_to(column, (part.shape[0], 1))
        columns.append(column if table else layouts.of_outputs(order).ours(column).T)
    return ScaledKernel(values, jnp.asarray(np.concatenate(columns)), sizes, table)


def _of_rows(order: layouts.Layout) -> bool:
    """Whether a layout of (out, in) orders whole rows and changes no number."""
    return order == layouts.of_outputs(order) and not isinstance(order, layouts.ScaledOutputs)
