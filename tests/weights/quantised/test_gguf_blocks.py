"""Blocks as a GGUF file holds them, and as the package of llama.cpp reads them."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.weights import gguf, gguf_blocks, quantised
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.weights.quantised import gguf_files

package = pytest.importorskip("gguf", reason="needs the extra [language]")

OUT = 3
RNG = np.random.default_rng(0)
BITS = {"Q8_0": 8.5, "Q4_0": 4.5, "Q4_1": 5, "Q5_0": 8.5, "Q5_1": 9, "IQ4_NL": 4.5, "IQ4_XS": 4.3125}
BITS |= {"Q2_K": 3.125, "Q3_K": 4.5625, "Q4_K": 4.625, "Q5_K": 8.625, "Q6_K": 8.5625, "F16": 16, "BF16": 16}
TABLES = ("Q6_K", "Q8_0", "F16")
"""Kinds that files have their tables of tokens in."""
EXTREME = np.array([0.0, -0.0, 6e-8, -6e-8, 3e-5, 1.0, 65504.0, -65504.0, np.inf, -np.inf, np.nan], np.float16)
"""The least numbers of 16 bits, the largest ones, and what is none."""


def test_the_table_of_kinds_is_that_of_the_package():
    kinds = {name: package.GGMLQuantizationType[name] for name in gguf.KINDS}
    assert {name: (kind.value, *package.GGML_QUANT_SIZES[kind]) for name, kind in kinds.items()} == gguf.KINDS
    assert {number: package.GGMLQuantizationType(number).name for number in gguf.NOT_READ} == gguf.NOT_READ
    assert all(form.fields.itemsize == gguf.KINDS[name].size for name, form in gguf_blocks.FORMATS.items())


@pytest.mark.parametrize("kind", gguf_blocks.KINDS)
def test_weights_are_those_of_the_package_bit_for_bit_and_products_are_theirs(kind):
    """Of random blocks with the largest, least and broken scales; products with one row and two, by moderate ones."""
    table, products = kind in TABLES, []

    @quickly
    def program(kernel, x):
        few = x[:1]
        both = [kernel.product_with_rows(few), kernel.product_with_rows(x)] if table else map(kernel.product, (few, x))
        return kernel.dense(jnp.float32), *both

    x = RNG.normal(size=(2, 512)).astype(np.float32)
    for scales in (EXTREME, None):
        raw = np.frombuffer(gguf_files.blocks(RNG, kind, (OUT, 512), scales)[2], np.uint8).reshape(OUT, -1)
        with np.errstate(invalid="ignore", over="ignore"):
            expected = package.quants.dequantize(raw, package.GGMLQuantizationType[kind])
        kernel = gguf_blocks.kernel(kind, raw, (OUT, 512) if table else (512, OUT), table=table)
        dense, *products = map(np.asarray, program(kernel, x))
        dense = np.ascontiguousarray(dense if table else dense.T)
        bits = (np.where(np.isnan(each), np.float32(7), each).view(np.uint32) for each in (dense, expected))
        np.testing.assert_array_equal(*bits)
        np.testing.assert_array_equal(gguf.Packed(kind, (OUT, 512), raw).numbers(), expected)
    y = x.astype(np.float64) @ expected.T.astype(np.float64)
    for rows, product in zip((y[:1], y), products, strict=True):
        np.testing.assert_allclose(product, rows, atol=3e-5 * np.abs(x).max() * np.abs(expected).sum(1).max())
    assert 8 * quantised.nbytes(kernel) == BITS[kind] * expected.size


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
