"""Kernels that are packed while a file is read are those of a packed tree, and what is lost of them is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from gendiff.core import packed, trees
from gendiff.weights import gguf, layouts, packed_reading, quantised, rules, streamed
from gendiff.weights.quantised.packed_kernels import JoinedKernel
from gendiff.weights.quantised.packed_reading import Rounding
from tests.quickly import quickly
from tests.tables import table
from tests.weights.quantised import gguf_files

RNG = np.random.default_rng(0)
STORED = {
    "layer.weight": RNG.normal(size=(24, 40)).astype(np.float16),
    "layer.bias": RNG.normal(size=24).astype(np.float16),
    "convolution.weight": RNG.normal(size=(24, 40, 1, 1)).astype(np.float16),
    "convolution.bias": RNG.normal(size=24).astype(np.float16),
}
RULES = (*rules.linear("layer", "layer"), *rules.convolution("convolution", "convolution"))
SHAPES = {"layer": {"kernel": (40, 24), "bias": (24,)}, "convolution": {"kernel": (1, 1, 40, 24), "bias": (24,)}}
PACKING = quantised.linear(quantised.int8(), convolutions=True)


def shaped(shapes, dtype):
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, dtype), shapes, is_leaf=lambda value: isinstance(value, tuple)
    )


def read(folder, packing, dtype=jnp.float32, on_packed=None):
    file = folder / "x.safetensors"
    safetensors.numpy.save_file(STORED, file)
    like = shaped(SHAPES, dtype)
    maker = packed_reading.maker(packing, on_packed) if packing else None
    return rules.to_ours(streamed.open_file(file), RULES, like, maker=maker)


def test_what_is_packed_while_it_is_read_is_what_is_packed_afterwards(tmp_path):
    result = read(tmp_path, PACKING)
    expected = quickly(lambda params: quantised.quantise(params, PACKING))(read(tmp_path, ()))
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    for (path, actual), other in zip(trees.paths(result).items(), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(
            np.asarray(actual, np.float32), np.asarray(other, np.float32), rtol=1e-6, err_msg=path
        )


def test_kernels_are_packed_from_float32_whatever_the_dtype_of_the_other_parameters(tmp_path):
    exact, half = (read(tmp_path, PACKING, dtype) for dtype in (jnp.float32, jnp.bfloat16))
    assert half["layer"]["bias"].dtype == jnp.bfloat16
    assert jax.tree.all(jax.tree.map(np.array_equal, half["layer"]["kernel"], exact["layer"]["kernel"]))


def test_a_rule_without_a_kind_leaves_its_arrays(tmp_path):
    result = read(tmp_path, (quantised.Packing("^layer/", None), *PACKING))
    assert not packed.is_packed(result["layer"]["kernel"]) and packed.is_packed(result["convolution"]["kernel"])


@table("storage, known", [(quantised.int8(), 0.0065), (quantised.float8(), 0.026)])
def test_what_is_lost_is_what_the_kernels_are_off_by(tmp_path, storage, known):
    losses = {}
    result = read(tmp_path, quantised.linear(storage), on_packed=losses.__setitem__)
    assert list(losses) == ["layer/kernel"]
    rounding, kernel = losses["layer/kernel"], result["layer"]["kernel"]
    array = STORED["layer.weight"].astype(np.float64).T
    off = np.asarray(kernel.dense(jnp.float32), np.float64) - array
    assert (rounding.numbers, rounding.nbytes) == (array.size, array.size + 4 * 24)
    np.testing.assert_allclose([rounding.squares, rounding.lost], [np.sum(array**2), np.sum(off**2)], rtol=1e-3)
    assert rounding.relative == pytest.approx(known, rel=0.15)  # of normal weights


def test_losses_of_several_arrays_add_up_and_zeros_lose_nothing():
    both = packed_reading.together([Rounding(2, 3, 9.0, 1.0), Rounding(5, 6, 16.0, 0.0)])
    assert both == Rounding(7, 9, 25.0, 1.0) and both.relative == 0.2
    assert packed_reading.together([]).relative == 0.0


# as their file has them.

WIDE = {"q.weight": (32, 64), "k.weight": (32, 64), "token.weight": (6, 64), "pixels.weight": (8, 4, 2, 2)}
PAIRS = layouts.NeighbourPairs(8)
ORDERS = {
    "as it is": (PAIRS, layouts.LINEAR),
    "swapped outputs": (layouts.SwappedOutputs(), PAIRS),
    "swapped inputs": (layouts.SwappedInputs(), layouts.LINEAR),
    "scaled": (layouts.ScaledOutputs(2), layouts.LINEAR),
}


def written(arrays, folder):
    """The file of these arrays."""
    safetensors.numpy.save_file(arrays, folder / "x.safetensors")
    return folder / "x.safetensors"


def both(arrays, order, dtype=jnp.float32):
    """(as stored, in full) of one layer of two matrices, a table, and a convolution."""
    named = (
        *rules.linear("q k", "layer", order),
        rules.Rule("token", ("token.weight",)),
        *rules.convolution("pixels", "pixels"),
    )
    shapes = {"layer": {"kernel": (64, 64)}, "token": (6, 64), "pixels": {"kernel": (2, 2, 4, 8)}}
    like = shaped(shapes, dtype)
    return (rules.to_ours(arrays, named, like, maker=maker) for maker in (packed_reading.as_stored, None))


def assert_same(stored, full, exactly=True):
    unpacked, full = trees.paths(quantised.dequantise(stored)), trees.paths(full)
    for path, array in full.items():
        bound = 0 if exactly else 1e-6 * np.abs(array).max()
        np.testing.assert_allclose(unpacked[path], array, rtol=0, atol=bound, err_msg=path)


def packed_paths(params):
    return {path for path, leaf in trees.paths(params, is_leaf=packed.is_packed).items() if packed.is_packed(leaf)}


@table("order, kinds", [(order, kinds) for order in ORDERS.values() for kinds in (("Q4_0", "Q4_0"), ("Q8_0", "F16"))])
def test_blocks_stay_as_they_are_where_whole_rows_are_ordered(order, kinds):
    pytest.importorskip("gguf", reason="needs the extra [language]")
    rng, arrays = np.random.default_rng(0), {}
    for (name, shape), kind in zip(WIDE.items(), (*kinds, "Q8_0", "F32"), strict=True):
        _, _, raw = gguf_files.blocks(rng, kind, shape)
        arrays[name] = gguf.Packed(kind, shape, np.frombuffer(raw, np.uint8).reshape(*shape[:-1], -1))
    stored, full = both(arrays, order)
    assert_same(stored, full, exactly=False)
    stays = {"layer/kernel"} if order in (ORDERS["as it is"], ORDERS["swapped outputs"]) else set()
    assert packed_paths(stored) == {"token", *stays}
    if stays:
        assert isinstance(stored["layer"]["kernel"], JoinedKernel) == (kinds[0] != kinds[1])


@table("order, kind", [(order, kind) for order in ORDERS.values() for kind in ("float16", "bfloat16")])
def test_halves_stay_as_they_are_in_any_order_where_parameters_are_wider(order, kind):
    arrays = {name: RNG.normal(size=shape).astype(jnp.dtype(kind)) for name, shape in WIDE.items()}
    stored, full = both(arrays, order)
    assert_same(stored, full)
    assert packed_paths(stored) == {"layer/kernel", "token", "pixels/kernel"}
    assert 2 * quantised.nbytes(stored) == quantised.nbytes(full)
    assert not packed_paths(next(both(arrays, order, jnp.bfloat16)))
    assert not packed_paths(next(both({name: array.astype(np.float32) for name, array in arrays.items()}, order)))
    mixed = arrays | {"q.weight": arrays["q.weight"].astype(np.float32)}
    assert packed_paths(next(both(mixed, order))) == {"token", "pixels/kernel"}


@table("order, scaled", [(order, scaled) for order in ORDERS.values() for scaled in ((), ("q",), ("q", "k", "token"))])
def test_numbers_of_8_bits_stay_with_their_scales(tmp_path, order, scaled):
    arrays = {name: RNG.normal(size=shape).astype(jnp.float8_e4m3fn) for name, shape in WIDE.items()}
    for name in scaled:
        rows = WIDE[f"{name}.weight"][0]
        arrays[f"{name}.scale_weight"] = RNG.uniform(0.5, 2, 1 if name == "k" else rows).astype(np.float32)
    stored, full = both(streamed.open_file(written(arrays, tmp_path)), order)
    assert_same(stored, full)
    layer = set() if order == ORDERS["scaled"] else {"layer/kernel"}
    assert packed_paths(stored) == {"token", "pixels/kernel", *layer}
    kernel = stored["token"]
    assert kernel.values.dtype == jnp.float8_e4m3fn and kernel.scale.shape == ((6, 1) if "token" in scaled else (1, 1))
