"""Kernels that are packed while a file is read are those of a packed tree, and what is lost of them is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from gendiff.core import packed, trees
from gendiff.weights import packed_reading, quantised, rules, streamed
from gendiff.weights.quantised.packed_reading import Rounding
from tests.quickly import quickly
from tests.tables import table

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


def read(folder, packing, dtype=jnp.float32, on_packed=None):
    file = folder / "x.safetensors"
    safetensors.numpy.save_file(STORED, file)
    like = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, dtype), SHAPES, is_leaf=lambda value: isinstance(value, tuple)
    )
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
