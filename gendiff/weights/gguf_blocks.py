"""Blocks of GGUF files as packed kernels: the bytes as shipped, in the order that our products read.

A block holds 32 inputs of one output: Q8_0 a float16 scale and 32 int8; Q4_0 a float16 scale and 16 bytes of nibbles, weights
(nibble − 8) · scale; Q4_1 a float16 scale, a float16 minimum and 16 bytes, weights nibble · scale + minimum. Input j is in the low nibble
of byte j, input j + 16 in the high one.

References:
    ggml's block_q8_0, block_q4_0 and block_q4_1 (from memory).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from gendiff.weights.packed_kernels import NibbleKernel, ScaledKernel

BLOCK = 32


def from_q8_0(raw: np.ndarray, shape: Sequence[int], *, table: bool = False) -> ScaledKernel:
    """Read blocks of Q8_0. Arguments and errors are those of `from_q4_1`."""
    numbers, blocks = _parts("Q8_0", raw, shape, table, 1, 32)
    return ScaledKernel(jnp.asarray(blocks.view(np.int8)), jnp.asarray(numbers[0]), tuple(shape), table)


def from_q4_0(raw: np.ndarray, shape: Sequence[int], *, table: bool = False) -> NibbleKernel:
    """Read blocks of Q4_0. Arguments and errors are those of `from_q4_1`."""
    numbers, blocks = _parts("Q4_0", raw, shape, table, 1, 16)
    return NibbleKernel(jnp.asarray(blocks), jnp.asarray(numbers[0]), None, tuple(shape), table)


def from_q4_1(raw: np.ndarray, shape: Sequence[int], *, table: bool = False) -> NibbleKernel:
    """Read blocks of Q4_1. Several matrices with the same inputs become one kernel when their blocks are joined along the outputs.

    Args:
        raw: uint8 of any shape, the blocks of each output one after the other, as `gguf` gives them: (out, bytes).
        shape: of the array here: (in, out) of a kernel, (v, d) of a table.
        table: whether it is a table.

    Raises:
        ValueError: for another number of bytes, or inputs that are no whole blocks.
        TypeError: for anything but bytes.
    """
    numbers, blocks = _parts("Q4_1", raw, shape, table, 2, 16)
    return NibbleKernel(jnp.asarray(blocks), jnp.asarray(numbers[0]), jnp.asarray(numbers[1]), tuple(shape), table)


def _parts(name: str, raw: np.ndarray, shape: Sequence[int], table: bool, floats: int, size: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The float16 numbers (out, groups) of each block, and its other bytes (out, groups · size)."""
    if raw.dtype != np.uint8:
        raise TypeError(f"raw must hold bytes (uint8), got {raw.dtype}")
    if len(shape) != 2:
        raise ValueError(f"shape = {tuple(shape)} must have 2 axes")
    outputs, inputs = shape if table else (shape[1], shape[0])
    wanted = outputs * (inputs // BLOCK) * (2 * floats + size)
    if inputs % BLOCK or raw.size != wanted:
        needed = f"{wanted} bytes are needed, and inputs that {BLOCK} divides, not {inputs}"
        raise ValueError(f"{raw.size} bytes are no {name} of shape {tuple(shape)}: {needed}")
    blocks = np.ascontiguousarray(raw).reshape(outputs, inputs // BLOCK, 2 * floats + size)
    numbers = np.ascontiguousarray(blocks[..., : 2 * floats]).view("<f2")
    return [np.ascontiguousarray(numbers[..., at]) for at in range(floats)], np.ascontiguousarray(blocks[..., 2 * floats :]).reshape(
        outputs, -1
    )
