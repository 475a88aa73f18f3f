"""Attention in chunks against the plain formula, with limits so small that few weights are large."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import attention
from gendiff.networks.fast import cpu_attention
from tests.networks.layers.test_attention import plain
from tests.networks.rig import LABEL, T, X, dit, quickly, random_params, value_and_slopes
from tests.tables import table

pytestmark = pytest.mark.numbers

SAMPLES, HEADS, TOKENS = 4, 6, 8
DRAW = np.random.default_rng(0)
ARRAYS = tuple(jax.device_put(array.astype(np.float32)) for array in DRAW.normal(size=(3, SAMPLES, TOKENS, HEADS, 4)))
OWN_MASK = DRAW.random((SAMPLES, HEADS, TOKENS, TOKENS)) < 0.6
SHARED_MASK = DRAW.random((1, 1, 1, TOKENS)) < 0.6
BIAS = jax.device_put(DRAW.normal(size=(1, HEADS, TOKENS, TOKENS)).astype(np.float32))

OF_A_HEAD = TOKENS**2
CHUNKS = {"queries": 2 * TOKENS, "heads": 3 * OF_A_HEAD, "samples": 2 * HEADS * OF_A_HEAD}
"""What a chunk is part of -> how many weights it has."""


@pytest.fixture(params=CHUNKS)
def chunks(request, monkeypatch):
    monkeypatch.setattr(cpu_attention, "CHUNK", CHUNKS[request.param])
    monkeypatch.setattr(cpu_attention, "LARGE", OF_A_HEAD)


def chunked(query, key, value, mask=None, bias=None):
    return attention.attend(query, key, value, mask, bias=bias, implementation="chunked")


def loops(f, *arrays):
    """How many loops the program of a function has."""
    # a new function each time, so that nothing is cached
    return str(jax.make_jaxpr(lambda *arrays: f(*arrays))(*arrays)).count("scan[")


def slopes(*arrays):
    return jax.vjp(chunked, *arrays)[1](jnp.ones_like(arrays[0]))


def all_of(f):
    """Value and gradient of a mask that samples share; those of a mask for each head and a shared bias with their
    tangents.

    Tangents are of forward over reverse mode.
    """

    def with_bias(query, key, value, bias):
        return value_and_slopes(lambda *arrays: f(*arrays[:3], OWN_MASK, arrays[3]), query, key, value, bias)

    shared = value_and_slopes(lambda *arrays: f(*arrays, SHARED_MASK), *ARRAYS)
    return shared, jax.jvp(with_bias, (*ARRAYS, BIAS), tuple(jnp.cos(array) for array in (*ARRAYS, BIAS)))


@functools.cache
def expected_answers():
    return quickly(lambda: all_of(plain))()


def test_every_way_to_cut_equals_the_plain_formula_in_value_gradient_and_tangent(chunks):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5), quickly(lambda: all_of(chunked))(), expected_answers()
    )
    assert loops(slopes, *ARRAYS) >= 2, "one there and one back"


@pytest.mark.parametrize("chunks", ["heads"], indirect=True)
def test_shared_keys_and_bfloat16_are_those_of_attention_that_is_not_cut(chunks):
    query, key, value = (array.astype(jnp.bfloat16) for array in ARRAYS)

    def run_with(implementation):
        f = functools.partial(attention.attend, implementation=implementation)
        return value_and_slopes(f, query, key[:, :, :2], value[:, :, :2])

    for ours, uncut in zip(*quickly(lambda: [run_with(each) for each in ("chunked", "heads_first")])(), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(*(array.astype(jnp.float32) for array in (ours, uncut)), atol=0.04)


@pytest.mark.parametrize("chunks", ["queries"], indirect=True)
def test_only_a_derivative_of_large_weights_is_cut(chunks, monkeypatch):
    assert loops(chunked, *ARRAYS) == 0 < loops(slopes, *ARRAYS)
    ours, uncut = quickly(lambda *arrays: [f(*arrays, OWN_MASK, BIAS) for f in (chunked, plain)])(*ARRAYS)
    np.testing.assert_allclose(ours, uncut, atol=2e-5)
    monkeypatch.setattr(cpu_attention, "LARGE", SAMPLES * HEADS * OF_A_HEAD)
    assert loops(slopes, *ARRAYS) == 0, "few weights are computed at once"


def test_the_backward_pass_keeps_no_weights_and_computes_only_them_again(chunks):
    residuals = jax.eval_shape(lambda *arrays: jax.vjp(chunked, *arrays)[1], *ARRAYS)
    assert (
        max(leaf.size for leaf in jax.tree.leaves(residuals))
        <= SAMPLES * HEADS * TOKENS * (4 + 1)
        < SAMPLES * HEADS * OF_A_HEAD
    )
    products = str(jax.make_jaxpr(lambda *arrays: slopes(*arrays))(*ARRAYS)).count("dot_general[")
    assert products == 2 + 1 + 4, "two there, the scores again, and two for each of the products"


@table(
    "shape, sizes",
    [
        ((16, 16, 256, 256), (1, 8, 256)),
        ((8, 6, 256, 256), (1, 6, 256)),
        ((64, 4, 64, 64), (32, 4, 64)),
        ((2, 8, 4096, 4096), (1, 1, 128)),
        ((1, 7, 512, 512), (1, 1, 512)),
        ((1, 1, 4099, 4099), (1, 1, 4099)),  # a prime number: single queries would take longer
    ],
)
def test_a_chunk_is_two_mebibytes_of_weights_or_the_next_smaller_divisor(shape, sizes):
    assert cpu_attention.chunk_sizes(*shape) == sizes


def test_a_network_is_cut_by_default_on_one_cpu_and_its_gradient_stays_with_its_blocks_computed_again(monkeypatch):
    monkeypatch.setattr(cpu_attention, "LARGE", 64)
    monkeypatch.setattr(cpu_attention, "CHUNK", 64)
    jax.clear_caches()  # a block that was traced before has other chunks
    params = random_params(dit(), X, T, LABEL)
    qkv = params["block_0"]["qkv"]  # whose gradient is made of those of queries, keys and values

    def gradient(**changes):
        def total(qkv):
            changed = params | {"block_0": params["block_0"] | {"qkv": qkv}}
            return jnp.sum(jnp.square(networks.pure(dit(**changes))(changed, X, T, LABEL)))

        return jax.grad(total)

    programs = [
        quickly(gradient(**changes)).trace(qkv)
        for changes in ({"remat": "products"}, {"attention_implementation": "heads_first"})
    ]
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4),
        *(program.lower().compile()(qkv) for program in programs),
    )
    again, uncut = (str(program.jaxpr).count("scan[") for program in programs)
    assert again > 0 == uncut
    jax.clear_caches()


@table("large", [2 * HEADS * OF_A_HEAD, OF_A_HEAD])
@table("free", ["b, 8", "b, t"])
def test_value_and_gradient_are_exported_for_any_number_of_samples_or_tokens(free, large, monkeypatch):
    monkeypatch.setattr(cpu_attention, "CHUNK", 2 * TOKENS)
    monkeypatch.setattr(cpu_attention, "LARGE", large)
    any_number = jax.ShapeDtypeStruct((*jax.export.symbolic_shape(free), HEADS, 4), jnp.float32)
    program = jax.export.export(jax.jit(lambda *arrays: value_and_slopes(chunked, *arrays)))(
        any_number, any_number, any_number
    )
    uncut = value_and_slopes(lambda *arrays: plain(*arrays, np.ones((1, 1, 1, TOKENS), bool)), *ARRAYS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5), program.call(*ARRAYS), uncut)
    assert ("while" in program.mlir_module()) == (large == OF_A_HEAD and free == "b, 8")
