"""Files of weights read straight into packed kernels: loading needs the memory of packed parameters and one array.

Each kernel reports its rounding error, so that the error of a storage is known before anything is drawn.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gendiff.core import arrays, packed
from gendiff.core.packed import PackedKernel
from gendiff.core.types import ArrayLike, DType
from gendiff.weights.quantised import quantisation
from gendiff.weights.quantised.quantisation import Kind, Packing
from gendiff.weights.rules import Maker, Rule, Shape


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
    kernel, squares, lost = _rounded(array, kind, table)
    return kernel, Rounding(packed.size(kernel), quantisation.nbytes(kernel), float(squares), float(lost))


def maker(rules: Sequence[Packing], on_packed: OnPacked | None = None) -> Maker:
    """Return a `maker` for `rules.to_ours` that packs each array as soon as it is read.

    An array is packed from float32, whatever the dtype of the other parameters.

    Args:
        rules: the first that fits an array packs it, as for `quantised.quantise`. Others become arrays.
        on_packed: is told of each array that is packed.
    """

    def make(
        path: str, rule: Rule, names: list[str], expected: Shape, read: Callable[[DType], jax.Array]
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


@functools.partial(jax.jit, static_argnums=(1, 2))
def _rounded(array: jax.Array, kind: Kind, table: bool) -> tuple[PackedKernel, jax.Array, jax.Array]:
    kernel = quantisation.packed_array(array, kind, table=table)
    off = kernel.dense(kernel.dtype) - array
    return kernel, jnp.sum(jnp.square(array)), jnp.sum(jnp.square(off))
