"""Blocks of GGUF files as packed kernels: every number as shipped, in the order that our products read.

| kind | block | weights |
|---|---|---|
| Q8_0 | 32 inputs: a float16 scale, 32 int8 | number · scale |
| Q4_0 | 32 inputs: a float16 scale, 16 bytes | (nibble − 8) · scale |
| Q4_1 | 32 inputs: a float16 scale and minimum, 16 bytes | nibble · scale + minimum |
| Q5_0 | 32 inputs: a float16 scale, 4 bytes of fifth bits, 16 bytes | (number − 16) · scale |
| Q5_1 | 32 inputs: a float16 scale and minimum, 4 bytes of fifth bits, 16 bytes | number · scale + minimum |
| Q4_K | 256 inputs: two float16 units, 6-bit scale and minimum per 32 inputs, 128 bytes | nibble · scale − minimum |
| Q5_K | as Q4_K, with 32 bytes of fifth bits before the 128 | number · scale − minimum |
| Q6_K | 256 inputs: one float16 unit, 8-bit scale per 16 inputs, 192 bytes of 6-bit numbers | (number − 32) · scale |

The numbers of the first three stay as they are, in another order. Of the last three the scales become float32, which
holds the products of units and integers exactly, and numbers of 5 and 6 bits become bytes. So bits per weight are 8.5
for Q5_0 (5.5 in the file), 9 for Q5_1 (6), 6 for Q4_K (4.5), 10 for Q5_K (5.5) and 10 for Q6_K (6.6).

References:
    ggml's block_q8_0, block_q4_0, block_q4_1, block_q5_0, block_q5_1, block_q4_K, block_q5_K and block_q6_K (from
    memory).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks
from gendiff.core.packed import PackedKernel
from gendiff.weights.quantised import gguf
from gendiff.weights.quantised.packed_kernels import GroupedKernel, NibbleKernel

KINDS = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
"""The kinds of blocks that stay packed."""
PART = 32
"""Inputs of Q4_K and Q5_K that have a scale and a minimum of their own."""


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
    content = _blocks(kind, raw, shape, table)
    if kind in ("Q4_K", "Q5_K"):
        return _of_parts(kind, content, tuple(shape), table)
    if kind == "Q6_K":
        return _q6_k(content, tuple(shape), table)
    numbers = 2 if kind in ("Q4_1", "Q5_1") else 1
    scale, *added = _halves(content[..., : 2 * numbers])
    minimum = added[0] if added else None
    values = content[..., 2 * numbers :]
    if kind == "Q8_0":
        return _grouped(values.view(np.int8), scale, None, shape, table)
    if kind in ("Q5_0", "Q5_1"):
        return _grouped(_q5(values) - np.int8(16 if minimum is None else 0), scale, minimum, shape, table)
    return _nibbles(values, scale, minimum, shape, table)


def blocks(kernel: PackedKernel) -> tuple[str, np.ndarray]:
    """Write a packed kernel as the blocks of a file, the inverse of `kernel` where scales have 16 bits.

    Args:
        kernel: in groups of 32 inputs: of `quantised.int4(32)` or `quantised.int8(32)`. Scales become float16.

    Returns:
        Q4_0 or Q8_0, and uint8 (out, bytes).

    Raises:
        ValueError: for another kernel, or inputs that 32 does not divide.
    """
    size = 16 if isinstance(kernel, NibbleKernel) else 32
    if not isinstance(kernel, NibbleKernel | GroupedKernel) or kernel.minimum is not None or kernel.inputs % 32:
        raise ValueError(f"a {type(kernel).__name__} of shape {kernel.shape} is no Q4_0 or Q8_0")
    values, scale = np.moveaxis(np.asarray(kernel.values), -1, 0), np.asarray(kernel.scale, np.float16).T
    if values.shape[2] != size:
        raise ValueError(f"groups of {values.shape[2] * kernel.each} inputs are no Q4_0 or Q8_0, which have 32")
    parts = [np.ascontiguousarray(each).view(np.uint8) for each in (scale[..., None], values)]
    return "Q4_0" if size == 16 else "Q8_0", np.concatenate(parts, -1).reshape(len(values), -1)


def _grouped(
    values: np.ndarray, scale: np.ndarray, minimum: np.ndarray | None, shape: Sequence[int], table: bool
) -> GroupedKernel:
    """Of int8 (out, groups, size), scales and minima (out, groups)."""
    added = None if minimum is None else _outputs_last(minimum)
    return GroupedKernel(_outputs_last(values), _outputs_last(scale), added, tuple(shape), table)


def _nibbles(
    values: np.ndarray, scale: np.ndarray, minimum: np.ndarray | None, shape: Sequence[int], table: bool
) -> NibbleKernel:
    """Of bytes (out, groups, size / 2), scales and minima (out, groups)."""
    added = None if minimum is None else _outputs_last(minimum)
    return NibbleKernel(_outputs_last(values), _outputs_last(scale), added, tuple(shape), table)


def _outputs_last(array: np.ndarray) -> jax.Array:
    return jnp.asarray(np.ascontiguousarray(np.moveaxis(array, 0, -1)))


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


def _halves(raw: np.ndarray) -> list[np.ndarray]:
    """Float16 numbers that stand side by side, each (out, blocks)."""
    numbers = np.ascontiguousarray(raw).view("<f2")
    return [numbers[..., at] for at in range(numbers.shape[-1])]


def _q5(values: np.ndarray) -> np.ndarray:
    """Int8 (out, groups, 32): bit j of the first 4 bytes is the fifth of input j."""
    fifth = np.unpackbits(values[..., :4], axis=-1, bitorder="little")
    numbers: np.ndarray = np.concatenate([values[..., 4:] & 15, values[..., 4:] >> 4], -1) | fifth << 4
    return numbers.astype(np.int8)


def _of_parts(kind: str, blocks: np.ndarray, shape: tuple[int, ...], table: bool) -> NibbleKernel | GroupedKernel:
    """The first 4 of 8 scales and minima are the low 6 bits of a byte each; the others are spread over what is left."""
    outputs = len(blocks)
    unit, unit_of_minima = (each.astype(np.float32)[..., None] for each in _halves(blocks[..., :4]))
    first, second, third = np.split(blocks[..., 4:16], 3, -1)
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], -1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], -1)
    scale, minimum = (unit * scales).reshape(outputs, -1), (-unit_of_minima * minima).reshape(outputs, -1)
    # 32 bytes: one part in the low nibbles, the next in the high ones
    halves = blocks[..., -128:].reshape(outputs, -1, 4, 1, PART)
    nibbles = np.concatenate([halves & 15, halves >> 4], -2).reshape(outputs, -1, PART)
    if kind == "Q4_K":
        return _nibbles(nibbles[..., : PART // 2] | nibbles[..., PART // 2 :] << 4, scale, minimum, shape, table)
    fifth = blocks[..., None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1  # bit j of byte l: input l of part j
    return _grouped((nibbles | fifth.reshape(nibbles.shape) << 4).astype(np.int8), scale, minimum, shape, table)


def _q6_k(blocks: np.ndarray, shape: tuple[int, ...], table: bool) -> GroupedKernel:
    # 128 inputs have 64 bytes of low nibbles, then 32 bytes of pairs of high bits
    # byte j of these is for inputs j, j + 32, j + 64 and j + 96
    outputs, count = blocks.shape[:2]
    low = blocks[..., :128].reshape(outputs, count, 2, 2, 32)
    high = blocks[..., 128:192].reshape(outputs, count, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
    numbers = np.concatenate([low & 15, low >> 4], -2) | high << 4
    scales = np.ascontiguousarray(blocks[..., 192:208]).view(np.int8)
    (unit,) = _halves(blocks[..., 208:])
    values = (numbers.astype(np.int8) - 32).reshape(outputs, -1, 16)
    return _grouped(values, (unit.astype(np.float32)[..., None] * scales).reshape(outputs, -1), None, shape, table)
