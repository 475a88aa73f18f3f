"""Blocks as a GGUF file holds them, written byte by byte here."""

import functools
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.weights import gguf, gguf_blocks, quantised
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.weights.quantised import gguf_files

pytest.importorskip("gguf", reason="needs the extra [language]")

IN, OUT = 64, 3
RNG = np.random.default_rng(0)
SCALES = RNG.uniform(0.01, 0.1, (OUT, IN // 32)).astype(np.float16)
MINIMA = RNG.normal(size=(OUT, IN // 32)).astype(np.float16)
NIBBLES = RNG.integers(0, 16, (OUT, IN))
INTEGERS = RNG.integers(-127, 128, (OUT, IN))


def by_bytes(kind):
    """(blocks of a file, weights (out, in)), one number after the other."""
    raw, weights = b"", np.zeros((OUT, IN))
    for output in range(OUT):
        for group in range(IN // 32):
            scale, minimum = SCALES[output, group], MINIMA[output, group]
            nibbles, first = NIBBLES[output, 32 * group : 32 * group + 32], 32 * group
            raw += struct.pack("<e", scale) + (struct.pack("<e", minimum) if kind == "q4_1" else b"")
            if kind == "q8_0":
                raw += struct.pack("<32b", *INTEGERS[output, first : first + 32])
            else:
                raw += bytes(int(nibbles[j] + 16 * nibbles[j + 16]) for j in range(16))
            for j in range(32):
                value = {"q8_0": INTEGERS[output, first + j], "q4_0": nibbles[j] - 8, "q4_1": nibbles[j]}[kind]
                weights[output, first + j] = float(scale) * value + (float(minimum) if kind == "q4_1" else 0.0)
    return np.frombuffer(raw, np.uint8), weights


@table("kind, bits", [("q8_0", 8.5), ("q4_0", 4.5), ("q4_1", 5.0)])
def test_blocks_are_read_as_kernels_and_tables_with_every_byte_kept(kind, bits):
    raw, weights = by_bytes(kind)
    read = functools.partial(gguf_blocks.kernel, kind.upper())
    kernel, table = read(raw, (IN, OUT)), read(raw.reshape(OUT, -1), (OUT, IN), table=True)
    x = RNG.normal(size=(1, IN)).astype(np.float32)
    dense, transposed, y = quickly(lambda a, b, x: (a.dense(jnp.float32), b.dense(jnp.float32), a.product(x)))(
        kernel, table, x
    )
    np.testing.assert_allclose(dense, weights.T, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(transposed, dense.T)
    np.testing.assert_allclose(y, x @ weights.T, atol=2e-3)
    assert (
        sum(leaf.nbytes for leaf in (kernel.values, kernel.scale, getattr(kernel, "minimum", None)) if leaf is not None)
        == raw.size
    )
    assert raw.size * 8 == bits * weights.size


@table("table", [False, True])
@table("kind, bits", [("Q5_0", 8.5), ("Q5_1", 9), ("Q4_K", 6), ("Q5_K", 10), ("Q6_K", 10)])
def test_blocks_of_odd_bits_or_of_256_hold_what_the_package_of_llama_cpp_reads(kind, bits, table):
    raw = np.frombuffer(gguf_files.blocks(np.random.default_rng(1), kind, (OUT, 512))[2], np.uint8)
    weights = gguf.Packed(kind, (OUT, 512), raw.reshape(OUT, -1)).numbers()
    kernel = gguf_blocks.kernel(kind, raw, (OUT, 512) if table else (512, OUT), table=table)
    x = RNG.normal(size=(1, 512)).astype(np.float32)
    dense, y = quickly(
        lambda kernel, x: (kernel.dense(jnp.float32), kernel.product_with_rows(x) if table else kernel.product(x))
    )(kernel, x)
    np.testing.assert_allclose(dense if table else dense.T, weights, rtol=1e-6, atol=1e-6 * np.abs(weights).max())
    np.testing.assert_allclose(y, x @ weights.T, atol=1e-4 * np.abs(x).max() * np.abs(weights).sum(1).max())
    assert 8 * quantised.nbytes(kernel) == bits * weights.size


@table(
    "kind, packing, table",
    [("Q4_0", quantised.int4(32, search=True, scale_dtype="float16"), False), ("Q8_0", quantised.int8(32), True)],
)
def test_packed_kernels_are_written_as_blocks_and_come_back(kind, packing, table):
    weights = RNG.normal(size=(OUT, 64) if table else (64, OUT)).astype(np.float32)
    kernel = quantised.packed_array(weights, packing, table=table)
    name, raw = gguf_blocks.blocks(kernel)
    again = gguf_blocks.kernel(name, raw, weights.shape, table=table)
    assert name == kind and raw.shape == (OUT, 64 // 32 * gguf.KINDS[kind].size)
    np.testing.assert_array_equal(again.values, kernel.values)
    np.testing.assert_allclose(again.scale, np.asarray(kernel.scale), rtol=2**-11)
    dense = gguf.Packed(name, (OUT, 64), raw).numbers()
    np.testing.assert_allclose(dense if table else dense.T, kernel.dense(jnp.float32), rtol=1e-3)


ROWS = np.ones((64, 4), np.float32)
test_what_has_no_blocks_in_a_file_is_refused = refusals(
    (lambda: gguf_blocks.blocks(quantised.packed_array(ROWS, quantised.int4(64))), "groups of 64 inputs"),
    (lambda: gguf_blocks.blocks(quantised.packed_array(ROWS, quantised.int4(symmetric=False))), "is no Q4_0 or Q8_0"),
    (lambda: gguf_blocks.blocks(quantised.packed_array(ROWS[:40], quantised.int4(32))), "is no Q4_0 or Q8_0"),
    (lambda: gguf_blocks.blocks(quantised.packed_array(ROWS, quantised.int8())), "ScaledKernel of shape"),
)


test_what_are_no_whole_blocks_is_refused = refusals(
    (lambda: gguf_blocks.kernel("Q4_0", np.zeros(107, np.uint8), (64, 3)), "107 bytes are no Q4_0 of shape"),
    (lambda: gguf_blocks.kernel("Q4_0", np.zeros(54, np.uint8), (48, 3)), "not 48"),
    (lambda: gguf_blocks.kernel("Q6_K", np.zeros((3, 210), np.uint8), (128, 3)), "256 divides, not 128"),
    (lambda: gguf_blocks.kernel("Q8_0", np.zeros((3, 34), np.uint8), (32, 3, 1)), "must have 2 axes"),
    (lambda: gguf_blocks.kernel("Q4_1", np.zeros((3, 20), np.int8), (32, 3)), "must hold bytes", TypeError),
    (lambda: gguf_blocks.kernel("Q4_2", np.zeros((3, 20), np.uint8), (32, 3)), "'Q4_2' is none of"),
)
