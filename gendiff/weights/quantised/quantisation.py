"""Parameters in 8 or 4 bits: packed kernels in place of the arrays of a network, which computes with them as they are.

Symmetric: q = round(w / s) with s = max |w| / 127 (int8), / 7 (int4) or / 448 (float8), per output or per group of its
    inputs. Asymmetric:
q = round((w − m) / s) with m = min w and s = (max w − min w) / 15. The weight that is computed with is s q, or s q + m.

`jnp.int4` stores one byte per number, as int8 does. Here two of them share a byte, so that `nbytes` counts what the
formula says.
"""

import abc
import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gendiff.core import checks, packed, trees
from gendiff.core.types import Params
from gendiff.weights.quantised import scale_search
from gendiff.weights.quantised.packed_kernels import GroupedKernel, NibbleKernel, ScaledKernel, pack
from gendiff.weights.quantised.scale_search import nonzero


class Kind(abc.ABC):
    """How an array is packed; `int8`, `int4` and `float8` build them."""

    @abc.abstractmethod
    def pack(self, weights: jax.Array, sizes: tuple[int, ...], table: bool) -> packed.PackedKernel:
        """Pack weights (out, in) of an array of these sizes."""


@dataclasses.dataclass(frozen=True)
class Scaled(Kind):
    """Weights as one number of 8 bits each, and scales. Built by `int8` and `float8`."""

    dtype: str
    largest: float
    group: int | None = None
    per_output: bool = True

    def pack(self, weights: jax.Array, sizes: tuple[int, ...], table: bool) -> ScaledKernel | GroupedKernel:
        """Pack weights (out, in)."""
        outputs, inputs = weights.shape
        if self.group is not None and inputs % self.group:
            raise ValueError(f"group = {self.group} does not divide the {inputs} inputs of a kernel of shape {sizes}")
        grouped = weights.reshape(outputs, 1 if self.group is None else -1, self.group or inputs)
        scale = jnp.max(jnp.abs(grouped), -1) if self.per_output else jnp.max(jnp.abs(grouped)).reshape(1, 1)
        scale = scale / self.largest
        values = grouped / nonzero(scale)[..., None]
        if self.dtype == "int8":
            values = jnp.round(values)
        values = jnp.clip(values, -self.largest, self.largest).astype(self.dtype)
        if self.group is None:
            return ScaledKernel(values.reshape(weights.shape), scale, sizes, table)
        return GroupedKernel(values.transpose(1, 2, 0), scale.T, None, sizes, table)


@dataclasses.dataclass(frozen=True)
class Nibbles(Kind):
    """Weights as two numbers per byte, with a scale per group of inputs, and a minimum where it is asymmetric.

    Built by `int4`.
    """

    group: int | None = 32
    symmetric: bool = True
    scale_dtype: str = "bfloat16"
    search: bool = False

    def pack(self, weights: jax.Array, sizes: tuple[int, ...], table: bool) -> NibbleKernel:
        """Pack weights (out, in). A last group that is not full is filled up with its last input."""
        filled = self._in_groups(weights)
        scale, minimum = self.grid(weights)
        least = None if minimum is None else minimum[..., None]
        return self._kernel(self.rounded(filled, scale[..., None], least), scale, minimum, sizes, table)

    def grid(self, weights: jax.Array, importance: jax.Array | None = None) -> tuple[jax.Array, jax.Array | None]:
        """Return the scale and the minimum of each group, (out, groups), rounded as they are stored.

        Args:
            weights: (out, in).
            importance: (in,) of the error of each input, which a search weighs. None: all are equal.
        """
        filled = self._in_groups(weights)
        if self.search:
            groups = None if importance is None else self._in_groups(importance[None])[0]
            return scale_search.searched_scale(filled, self.scale_dtype, groups), None
        if self.symmetric:
            return self._stored(jnp.max(jnp.abs(filled), -1) / 7), None
        minimum = self._stored(jnp.min(filled, -1))
        return self._stored((jnp.max(filled, -1) - minimum) / 15), minimum

    def rounded(self, weights: jax.Array, scale: jax.Array, minimum: jax.Array | None) -> jax.Array:
        """Return the nearest numbers 0 … 15 of weights, given scales and minima that broadcast."""
        if minimum is not None:
            return jnp.clip(jnp.round((weights - minimum) / nonzero(scale)), 0, 15)
        return jnp.clip(jnp.round(weights / nonzero(scale)), -8 if self.search else -7, 7) + 8

    def kernel(
        self, nibbles: jax.Array, scale: jax.Array, minimum: jax.Array | None, sizes: tuple[int, ...], table: bool
    ) -> NibbleKernel:
        """Return the packed kernel of numbers 0 … 15 (out, in), and the scales and minima of `grid`."""
        return self._kernel(self._in_groups(nibbles), scale, minimum, sizes, table)

    def by_input(self, numbers: jax.Array, inputs: int) -> jax.Array:
        """Repeat numbers (out, groups) for each input: (out, inputs)."""
        return jnp.repeat(numbers, self.group or inputs, -1)[:, :inputs]

    def _in_groups(self, weights: jax.Array) -> jax.Array:
        """(out, groups, size of a group)."""
        inputs = weights.shape[1]
        group = self.group or inputs + inputs % 2
        return jnp.pad(weights, ((0, 0), (0, -inputs % group)), mode="edge").reshape(len(weights), -1, group)

    def _kernel(
        self, nibbles: jax.Array, scale: jax.Array, minimum: jax.Array | None, sizes: tuple[int, ...], table: bool
    ) -> NibbleKernel:
        least = None if minimum is None else minimum.astype(self.scale_dtype).T
        return NibbleKernel(pack(nibbles.transpose(1, 2, 0)), scale.astype(self.scale_dtype).T, least, sizes, table)

    def _stored(self, value: jax.Array) -> jax.Array:
        return value.astype(self.scale_dtype).astype(value.dtype)


def int8(group: int | None = None, *, per_output: bool = True) -> Scaled:
    """One byte per weight, in [−127, 127], with a float32 scale per output.

    Also known as: weight-only quantisation, per-channel quantisation.

    Args:
        group: how many inputs share a scale, which divides their number. None: all.
        per_output: False has one scale for the whole array, which one large weight spoils for all others.

    Raises:
        ValueError: for a group below 1, or one without a scale per output.
    """
    if group is not None:
        checks.integer("group", group, 1)
        if not per_output:
            raise ValueError(f"group = {group} has a scale per output and group: leave per_output = True")
    return Scaled("int8", 127.0, group, per_output)


def float8() -> Scaled:
    """One byte per weight as float8_e4m3fn, 3 bits of fraction, with a float32 scale per output.

    Also known as: FP8 (E4M3).

    References:
        Micikevicius et al., 2022, Table 1 (from memory).
    """
    return Scaled("float8_e4m3fn", 448.0)


def int4(
    group: int | None = 32, *, symmetric: bool = True, scale_dtype: str = "bfloat16", search: bool = False
) -> Nibbles:
    """Half a byte per weight, with a scale per output and group of inputs: 4.5 bits per weight as it stands here.

    Also known as: 4-bit quantisation, group-wise quantisation.

    Args:
        group: how many inputs share a scale, even; None: all. Usual are 32, 64 and 128.
        symmetric: weights in [−7, 7] times the scale. False: in [0, 15] times the scale, plus a minimum.
        scale_dtype: of scales and minima: "float32", "bfloat16" or "float16". A minimum is rounded to it too.
        search: weights in [−8, 7] times the scale with the least squared error (see `scale_search`), in place of
            max |w| / 7. Symmetric alone. It takes as many passes over the weights as there are candidates, about 30.

    Raises:
        ValueError: for an odd group, or another dtype, or a search of what is asymmetric.
    """
    checks.choice("scale_dtype", scale_dtype, ("float32", "bfloat16", "float16"))
    if group is not None:
        checks.integer("group", group, 2)
        if group % 2:
            raise ValueError(f"group = {group} must be even: two weights share a byte")
    if search and not symmetric:
        raise ValueError("search = True is for symmetric = True: a minimum has no search")
    return Nibbles(group, symmetric, scale_dtype, search)


@dataclasses.dataclass(frozen=True)
class Packing:
    """A rule: how arrays of these paths are packed.

    Args:
        paths: a regular expression, searched for in the path of an array, as in "block_0/qkv/kernel".
        kind: `int8()`, `int4()`, `float8()`, or None for arrays that stay.
        axes: the numbers of axes that it packs: 2 of linear layers and tables, 4 of convolutions.
        table: whether the array has a row per token, as "token" of a language model: the sums go along its rows.
    """

    paths: str
    kind: Kind | None
    axes: tuple[int, ...] = (2,)
    table: bool = False


LINEAR = (Packing(r"(^|/)kernel$", int8()),)
"""The kernels of all linear layers as int8. Norms, biases, tables and convolutions stay."""


def linear(kind: Kind, *, tables: bool = False, convolutions: bool = False) -> tuple[Packing, ...]:
    """Build rules for the kernels of all linear layers.

    Args:
        kind: as in `Packing`.
        tables: the tables of tokens too.
        convolutions: their kernels too; they are unpacked before each use.
    """
    kernels = Packing(r"(^|/)kernel$", kind, (2, 4) if convolutions else (2,))
    return (kernels, Packing(r"(^|/)token$", kind, table=True)) if tables else (kernels,)


def quantise(params: Params, rules: Sequence[Packing] = LINEAR) -> Params:
    """Pack parameters by the first rule that fits each. What no rule fits, and what is packed already, stays.

    Also known as: post-training quantisation (PTQ) by rounding to nearest (RTN), of weights only.

    Args:
        params: of any network.
        rules: see `Packing`.

    Raises:
        ValueError: for a rule that fits nothing.
        TypeError: for an array to pack that is not floating.
    """
    return by_rules(params, rules, lambda path, leaf, kind, table: packed_array(leaf, kind, table=table))


def by_rules(params: Params, rules: Sequence[Packing], pack_one: Callable[[str, Any, Kind, bool], Any]) -> Params:
    """Replace what the rules pack by `pack_one(path, array, kind, table)`. All else, and what is packed already, stays.

    Raises:
        ValueError: for a rule that fits nothing.
    """
    leaves = trees.paths(params, is_leaf=packed.is_packed)
    chosen = {path: rule_of(path, leaf, rules) for path, leaf in leaves.items()}
    if idle := [rule.paths for rule in rules if not any(rule is each for each in chosen.values())]:
        raise ValueError(f"no array of the parameters fits the rules {idle}: paths are such as {list(leaves)[:3]}")
    result = [
        leaf
        if (rule := chosen[path]) is None or rule.kind is None or packed.is_packed(leaf)
        else pack_one(path, leaf, rule.kind, rule.table)
        for path, leaf in leaves.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(params, is_leaf=packed.is_packed), result)


def rule_of(path: str, leaf: Any, rules: Sequence[Packing]) -> Packing | None:
    """Return the first rule that fits an array of this path, or None."""
    return next((rule for rule in rules if re.search(rule.paths, path) and len(leaf.shape) in rule.axes), None)


def packed_array(array: Any, kind: Kind, *, table: bool = False) -> packed.PackedKernel:
    """Pack one array: a kernel (…, in, out) or a table (v, d).

    Raises:
        TypeError: unless it is floating.
        ValueError: for an array of less than 2 axes, or a table of more.
    """
    checks.floating("array", array)
    if array.ndim < 2 or (table and array.ndim > 2):
        raise ValueError(f"an array of shape {array.shape} cannot be packed: kernels have at least 2 axes, tables 2")
    kernel: packed.PackedKernel = _packed(_by_output(array, table), kind, tuple(array.shape), table)
    return kernel


# one program per shape, not one per operation, and two, so that packing reads each output's weights in a row
@functools.partial(jax.jit, static_argnums=1)
def _by_output(array: jax.Array, table: bool) -> jax.Array:
    weights = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    return weights if table else weights.reshape(-1, weights.shape[-1]).T


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _packed(weights: jax.Array, kind: Kind, sizes: tuple[int, ...], table: bool) -> packed.PackedKernel:
    return kind.pack(weights, sizes, table)


def dequantise(params: Params, dtype: Any = jnp.float32) -> Params:
    """Turn packed kernels into arrays of this dtype; all else stays."""
    return jax.tree.map(
        lambda leaf: leaf.dense(dtype) if packed.is_packed(leaf) else leaf, params, is_leaf=packed.is_packed
    )


def nbytes(params: Params) -> int:
    """Return how many bytes the parameters take, their scales among them. Shapes and dtypes are enough."""
    return sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(params))
