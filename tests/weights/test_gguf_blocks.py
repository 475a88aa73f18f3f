"""Blocks as a GGUF file holds them, written byte by byte here."""

import struct

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.weights import gguf_blocks
from tests.quickly import quickly
from tests.refusals import refusals

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


@pytest.mark.parametrize(("kind", "bits"), [("q8_0", 8.5), ("q4_0", 4.5), ("q4_1", 5.0)])
def test_blocks_are_read_as_kernels_and_tables_with_every_byte_kept(kind, bits):
    raw, weights = by_bytes(kind)
    read = getattr(gguf_blocks, f"from_{kind}")
    kernel, table = read(raw, (IN, OUT)), read(raw.reshape(OUT, -1), (OUT, IN), table=True)
    x = RNG.normal(size=(1, IN)).astype(np.float32)
    dense, transposed, y = quickly(lambda a, b, x: (a.dense(jnp.float32), b.dense(jnp.float32), a.product(x)))(kernel, table, x)
    np.testing.assert_allclose(dense, weights.T, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(transposed, dense.T)
    np.testing.assert_allclose(y, x @ weights.T, atol=2e-3)
    assert sum(leaf.nbytes for leaf in (kernel.values, kernel.scale, getattr(kernel, "minimum", None)) if leaf is not None) == raw.size
    assert raw.size * 8 == bits * weights.size


test_what_are_no_whole_blocks_is_refused = refusals(
    (lambda: gguf_blocks.from_q4_0(np.zeros(107, np.uint8), (64, 3)), "107 bytes are no Q4_0 of shape"),
    (lambda: gguf_blocks.from_q4_0(np.zeros(54, np.uint8), (48, 3)), "not 48"),
    (lambda: gguf_blocks.from_q8_0(np.zeros((3, 34), np.uint8), (32, 3, 1)), "must have 2 axes"),
    (lambda: gguf_blocks.from_q4_1(np.zeros((3, 20), np.int8), (32, 3)), "must hold bytes", TypeError),
)
