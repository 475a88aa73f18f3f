"""Blocks of GGUF files as packed kernels: every number as shipped, in the order that our products read.

| kind | weights | inputs of a scale | bits per weight in the file | here |
|---|---|---|---|---|
| Q8_0 | number · scale | 32 | 8.5 | 8.5 |
| Q4_0 | (number − 8) · scale | 32 | 4.5 | 4.5 |
| Q4_1 | number · scale + minimum | 32 | 5 | 5 |
| Q5_0 | (number − 16) · scale | 32 | 5.5 | 8.5 |
| Q5_1 | number · scale + minimum | 32 | 6 | 9 |
| Q2_K | number · scale − minimum | 16 | 2.6 | 3.1 |
| Q3_K | (number − 4) · scale | 16 | 3.4 | 4.6 |
| Q4_K | number · scale − minimum | 32 | 4.5 | 4.6 |
| Q5_K | number · scale − minimum | 32 | 5.5 | 8.6 |
| Q6_K | (number − 32) · scale | 16 | 6.6 | 8.6 |
| IQ4_NL | code of the number · scale | 32 | 4.5 | 4.5 |
| IQ4_XS | code of the number · scale | 32 | 4.3 | 4.3 |
| F16, BF16 | the number | | 16 | 16 |

Scales and minima of blocks of 32 inputs are float16. Those of blocks of 256 are a float16 unit times an integer of at
most 8 bits, and stay so (see `packed_kernels.SteppedScale`). Numbers of 3 bits become nibbles, those of 5 and 6 bytes.

References:
    ggml's blocks, as the package `gguf` reads them.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks
from gendiff.core.packed import PackedKernel
from gendiff.weights.quantised import gguf
from gendiff.weights.quantised.packed_kernels import (
    CodedKernel,
    GroupedKernel,
    HalfKernel,
    NibbleKernel,
    QuarterKernel,
    SteppedScale,
    StoredByGroup,
)


class Bits(NamedTuple):
    """Integers of a few bits in two fields of a block, one with their low bits, one with the bits above.

    In a field the lowest bits of the first `span` words are the first integers, the bits above these are the next
    ones, and so on; then come the next `span` words.

    Attributes:
        low: (bits, span).
        high: of the second field, or None.
        zero: what zero is stored as.
    """

    low: tuple[int, int]
    high: tuple[int, int] | None = None
    zero: int = 0


class Format(NamedTuple):
    """A kind of block.

    Attributes:
        fields: their names, dtypes and words, in the order of the file: `unit` of scales and `minimum` of minima,
            the numbers `low` and `high`, and integers `steps` and `steps_high`, by which the units are multiplied.
        group: how many inputs share a scale.
        numbers: how they lie.
        kernel: what they become.
        steps: how these lie; None: by `_six_bits`.
    """

    fields: np.dtype
    group: int
    numbers: Bits
    kernel: type[StoredByGroup]
    steps: Bits | None = None


def _fields(text: str) -> np.dtype:
    """A dtype from "name:dtype" and "name:dtype:words"."""
    parts = [(name, dtype, *map(int, words)) for name, dtype, *words in (each.split(":") for each in text.split())]
    return np.dtype(parts)


_BOTH = "unit:<f2 minimum:<f2"
FORMATS = {
    "Q8_0": Format(_fields("unit:<f2 low:u1:32"), 32, Bits((8, 32)), GroupedKernel),
    "Q4_0": Format(_fields("unit:<f2 low:u1:16"), 32, Bits((4, 16), zero=8), NibbleKernel),
    "Q4_1": Format(_fields(f"{_BOTH} low:u1:16"), 32, Bits((4, 16)), NibbleKernel),
    "Q5_0": Format(_fields("unit:<f2 high:u1:4 low:u1:16"), 32, Bits((4, 16), (1, 1), 16), GroupedKernel),
    "Q5_1": Format(_fields(f"{_BOTH} high:u1:4 low:u1:16"), 32, Bits((4, 16), (1, 1)), GroupedKernel),
    "Q2_K": Format(_fields(f"steps:u1:16 low:u1:64 {_BOTH}"), 16, Bits((2, 32)), QuarterKernel, Bits((4, 16))),
    "Q3_K": Format(
        _fields("high:u1:32 low:u1:64 steps:u1:8 steps_high:u1:4 unit:<f2"),
        16,
        Bits((2, 32), (1, 32), 4),
        NibbleKernel,
        Bits((4, 8), (2, 4), 32),
    ),
    "Q4_K": Format(_fields(f"{_BOTH} steps:u1:12 low:u1:128"), 32, Bits((4, 32)), NibbleKernel),
    "Q5_K": Format(_fields(f"{_BOTH} steps:u1:12 high:u1:32 low:u1:128"), 32, Bits((4, 32), (1, 32)), GroupedKernel),
    "Q6_K": Format(
        _fields("low:u1:128 high:u1:64 steps:u1:16 unit:<f2"),
        16,
        Bits((4, 64), (2, 32), 32),
        GroupedKernel,
        Bits((8, 16)),
    ),
    "IQ4_NL": Format(_fields("unit:<f2 low:u1:16"), 32, Bits((4, 16)), CodedKernel),
    "IQ4_XS": Format(
        _fields("unit:<f2 steps_high:u1:2 steps:u1:4 low:u1:128"),
        32,
        Bits((4, 16)),
        CodedKernel,
        Bits((4, 1), (2, 1), 32),
    ),
}
HALVES = {"F16": np.dtype("<f2"), "BF16": np.dtype(jnp.bfloat16)}
KINDS = (*FORMATS, *HALVES)
"""The kinds of numbers that stay packed."""


def kernel(kind: str, raw: np.ndarray, shape: Sequence[int], *, table: bool = False) -> PackedKernel:
    """Read the blocks of one matrix.

    Several matrices with the same inputs are one when their blocks are joined along the outputs.

    Args:
        kind: one of KINDS.
        raw: uint8 of any shape, the blocks of each output one after the other, as `gguf` gives them: (out, bytes).
        shape: of the array here: (in, out) of a kernel, (v, d) of a table.
        table: whether it is a table.

    Raises:
        ValueError: for another kind, another number of bytes, or inputs that are no whole blocks.
        TypeError: for anything but bytes.
    """
    checks.choice("kind", kind, KINDS)
    content, sizes = _blocks(kind, raw, shape, table), tuple(shape)
    if kind in HALVES:
        return HalfKernel(jnp.asarray(content.view(HALVES[kind])[..., 0]), sizes, table)
    form = FORMATS[kind]
    blocks = content.view(form.fields)[..., 0]
    scale, minimum = _scales(form, blocks)
    each, zero = form.kernel.each, form.numbers.zero if minimum is not None else form.kernel.zero
    if form.numbers == Bits((8 // each, form.group // each), zero=zero):  # the kernel has them as the file does
        values = blocks["low"].reshape(len(blocks), -1, form.group // each)
    else:
        numbers = _integers(blocks, "low", "high", form.numbers).reshape(len(blocks), -1, form.group)
        values = _together(numbers + np.uint8((zero - form.numbers.zero) & 255), each)  # wraps around, as int8 does
    return form.kernel(_outputs_last(values.view(np.int8) if each == 1 else values), scale, minimum, sizes, table)


def blocks(kernel: PackedKernel) -> tuple[str, np.ndarray]:
    """Write a packed kernel as the blocks of a file, the inverse of `kernel` where scales have 16 bits.

    Args:
        kernel: in groups of 32 inputs: of `quantised.int4(32)` or `quantised.int8(32)`. Scales become float16.

    Returns:
        Q4_0 or Q8_0, and uint8 (out, bytes).

    Raises:
        ValueError: for another kernel, or inputs that 32 does not divide.
    """
    if not isinstance(kernel, NibbleKernel | GroupedKernel) or kernel.minimum is not None or kernel.inputs % 32:
        raise ValueError(f"a {type(kernel).__name__} of shape {kernel.shape} is no Q4_0 or Q8_0")
    if kernel.values.shape[1] * kernel.each != 32:
        raise ValueError(f"groups of {kernel.values.shape[1] * kernel.each} inputs are no Q4_0 or Q8_0, which have 32")
    values, scale = np.moveaxis(np.asarray(kernel.values), -1, 0), np.asarray(kernel.scale.astype(jnp.float16)).T
    parts = [np.ascontiguousarray(each).view(np.uint8) for each in (scale[..., None], values)]
    return "Q4_0" if kernel.each == 2 else "Q8_0", np.concatenate(parts, -1).reshape(len(values), -1)


def _blocks(kind: str, raw: np.ndarray, shape: Sequence[int], table: bool) -> np.ndarray:
    """The bytes (out, blocks of a row, bytes of a block)."""
    if raw.dtype != np.uint8:
        raise TypeError(f"raw must hold bytes (uint8), got {raw.dtype}")
    if len(shape) != 2:
        raise ValueError(f"shape = {tuple(shape)} must have 2 axes")
    outputs, inputs = shape if table else (shape[1], shape[0])
    _, numbers, size = gguf.KINDS[kind]
    expected = outputs * (inputs // numbers) * size
    if inputs % numbers or raw.size != expected:
        needed = f"{expected} bytes are needed, and inputs that {numbers} divides, not {inputs}"
        raise ValueError(f"{raw.size} bytes are no {kind} of shape {tuple(shape)}: {needed}")
    return np.ascontiguousarray(raw).reshape(outputs, inputs // numbers, size)


def _scales(form: Format, blocks: np.ndarray) -> tuple[jax.Array | SteppedScale, jax.Array | SteppedScale | None]:
    """Scales and minima of blocks (out, count)."""
    names = form.fields.names or ()
    unit, minimum = blocks["unit"], blocks["minimum"] if "minimum" in names else None
    if "steps" not in names:
        return _outputs_last(unit), None if minimum is None else _outputs_last(minimum)
    if form.steps is None:
        steps = _six_bits(blocks["steps"])
    else:
        steps = _integers(blocks, "steps", "steps_high", form.steps) - np.uint8(form.steps.zero)
    if minimum is None:
        return _stepped(unit, steps), None
    scales, minima = np.split(steps, 2, -1)
    return _stepped(unit, scales), _stepped(-minimum, minima)


def _integers(blocks: np.ndarray, low: str, high: str, bits: Bits) -> np.ndarray:
    """Uint8 (out, count, n) of these fields."""
    integers = _spread(blocks[low], *bits.low)
    return integers if bits.high is None else integers | _spread(blocks[high], *bits.high) << bits.low[0]


def _spread(words: np.ndarray, bits: int, span: int) -> np.ndarray:
    """Uint8 (out, count, n): the lowest bits of `span` bytes, then the bits above these, and so on."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    parts = words.reshape(*words.shape[:2], -1, 1, span) >> shifts & np.uint8(2**bits - 1)
    return parts.reshape(*words.shape[:2], -1)


def _six_bits(words: np.ndarray) -> np.ndarray:
    """8 scales and 8 minima of 12 bytes.

    The first 4 of each are the low 6 bits of a byte each. The others have their low 4 bits in the last 4 bytes, and
    their high bits above the first ones.
    """
    first, last = words[..., :8], _spread(words[..., 8:], 4, 4) | words[..., :8] >> 6 << 4
    both = np.stack([first & 63, last], -2).reshape(*words.shape[:2], 2, 2, 4)
    return both.swapaxes(-2, -3).reshape(*words.shape[:2], 16)


def _together(numbers: np.ndarray, each: int) -> np.ndarray:
    """Bytes (out, groups, n / each): the first n / each of a group in the lowest bits, and so on."""
    parts = np.split(numbers, each, -1)
    return functools.reduce(np.bitwise_or, (part << 8 // each * at for at, part in enumerate(parts)))


def _stepped(unit: np.ndarray, steps: np.ndarray) -> SteppedScale:
    """Of units (out, blocks) and steps (out, blocks, n), which stay below 128."""
    return SteppedScale(_outputs_last(unit), _outputs_last(steps.view(np.int8).reshape(len(steps), -1)))


def _outputs_last(array: np.ndarray) -> jax.Array:
    return jnp.asarray(np.ascontiguousarray(np.moveaxis(array, 0, -1)))
