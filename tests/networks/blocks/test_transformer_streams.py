"""Cross-attention and joint attention of the transformer block, against formulas in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.language.cache import FullLayer
from gendiff.networks import attention, transformer
from tests.networks.blocks.block_formulas import Formula, mixed, run
from tests.networks.rig import quickly, random_params

BLOCK = transformer.TransformerBlock(heads=2, expansion=2)
DRAW = np.random.default_rng(0)
X, OTHER, CONTEXT, ADA = (
    DRAW.normal(size=shape).astype(np.float32) for shape in ((2, 6, 8), (2, 3, 8), (2, 5, 7), (2, 3))
)
MASK = np.array([[True, False, True, True, False], [False] * 5])


def test_cross_attention_equals_its_formula_after_self_attention_and_before_the_mlp():
    params = random_params(BLOCK, X, None, None, None, None, CONTEXT, MASK)
    formula, x, context = Formula(params), np.asarray(X, np.float64), np.asarray(CONTEXT, np.float64)
    x = x + formula.linear("output", mixed(*np.split(formula.linear("qkv", formula.norm("norm_0", x)), 3, -1)))
    query = formula.linear("cross_query", formula.norm("norm_cross", x))
    x = x + formula.linear(
        "cross_output", mixed(query, *np.split(formula.linear("cross_key_value", context), 2, -1), MASK)
    )
    x = x + formula.mlp(x)
    np.testing.assert_allclose(run(BLOCK, params, X, None, None, None, None, CONTEXT, MASK), x, rtol=1e-4, atol=1e-4)


def test_with_the_norm_last_the_sum_with_cross_attention_is_normalised_too():
    block = BLOCK.clone(norm_first=False)
    params = random_params(block, X, None, None, None, None, CONTEXT)
    formula, x, context = Formula(params), np.asarray(X, np.float64), np.asarray(CONTEXT, np.float64)
    x = formula.norm("norm_0", x + formula.linear("output", mixed(*np.split(formula.linear("qkv", x), 3, -1))))
    key, value = np.split(formula.linear("cross_key_value", context), 2, -1)
    x = formula.norm(
        "norm_cross", x + formula.linear("cross_output", mixed(formula.linear("cross_query", x), key, value))
    )
    x = formula.norm("norm_1", x + formula.narrowed(formula.linear("mlp_0", x)))
    np.testing.assert_allclose(run(block, params, X, None, None, None, None, CONTEXT), x, rtol=1e-4, atol=1e-4)


def test_queries_keys_and_values_of_cross_attention_have_a_bias_as_those_of_self_attention_do():
    for fields, biased in (
        ({}, True),
        ({"qkv_bias": False}, False),
        ({"bias": False}, False),
        ({"bias": False, "qkv_bias": True}, True),
    ):
        block = BLOCK.clone(**fields)
        init = functools.partial(networks.init, block, jax.random.key(0))
        params = jax.eval_shape(init, X, None, None, None, None, CONTEXT)
        layers = {name for name in params if "bias" in params[name]}
        assert {"cross_query", "cross_key_value", "qkv"} - layers == (
            set() if biased else {"cross_query", "cross_key_value", "qkv"}
        )
        assert ("cross_output" in layers) == ("output" in layers) == ("mlp_0" in layers) == fields.get("bias", True)


def test_a_context_adds_nothing_to_a_fresh_block_and_a_fresh_block_with_a_condition_stays_the_identity():
    def fresh(key, *inputs):
        params = networks.init(BLOCK, key, *inputs)
        return params, networks.pure(BLOCK)(params, *inputs)[0]

    @quickly
    def outputs(keys, x, other, ada, context, mask):
        params, with_context = fresh(keys[0], x, None, None, None, None, context, mask)
        without_gate = fresh(keys[1], x, ada, None, None, None, context, mask)[1], *fresh(keys[2], (x, other), ada)[1]
        return with_context, networks.pure(BLOCK)(params, x)[0], without_gate

    with_context, without, without_gate = outputs(
        [jax.random.key(number) for number in range(3)], X, OTHER, ADA, CONTEXT, MASK
    )
    np.testing.assert_allclose(with_context, without, atol=1e-6)
    for result, stream in zip(without_gate, (X, X, OTHER), strict=True):
        np.testing.assert_array_equal(result, stream)


@pytest.mark.parametrize("answers", [None, pytest.param(1, marks=pytest.mark.slow)])
def test_joint_attention_is_one_attention_over_all_streams_with_weights_of_their_own(answers):
    block = BLOCK.clone(answers=answers)
    params = random_params(block, (X, OTHER))
    output = run(block, params, (X, OTHER))
    assert len(output) == (answers or 2)
    formulas = Formula(params), Formula(params, "stream_1_")
    streams = [np.asarray(stream, np.float64) for stream in (X, OTHER)]
    second = "key_value" if answers else "qkv"
    projected = [
        formula.linear(name, formula.norm("norm_0", stream))
        for formula, stream, name in zip(formulas, streams, ("qkv", second), strict=True)
    ]
    split = [np.split(y, y.shape[-1] // 8, -1) for y in projected]
    key, value = (np.concatenate([part[at] for part in split], 1) for at in (-2, -1))
    for formula, stream, part, result in zip(formulas, streams, split, output, strict=False):
        y = stream + formula.linear("output", mixed(part[0], key, value))
        np.testing.assert_allclose(result, y + formula.mlp(y), rtol=1e-4, atol=1e-4)


def test_streams_with_equal_weights_are_one_sequence_with_positions_mask_condition_and_cache_too():
    params = random_params(BLOCK, X, ADA)
    both = params | {f"stream_1_{name}": layer for name, layer in params.items()}
    full, at = np.concatenate([X, OTHER], 1), np.broadcast_to(np.arange(9)[None, :, None], (2, 9, 1))
    empty = FullLayer(*(jax.device_put(np.zeros((2, 2, 12, 4), np.float32)) for _ in range(2)))

    def outputs(params, x):
        plain = BLOCK.apply({"params": params}, x, jnp.asarray(ADA))[0]
        cached, cache = BLOCK.apply({"params": params}, x, jnp.asarray(ADA), at, attention.causal, empty)
        return plain, cached, cache

    expected, result = quickly(outputs)(params, full), quickly(outputs)(both, (X, OTHER))
    for one, streams in zip(expected[:2], result[:2], strict=True):
        np.testing.assert_allclose(np.concatenate(streams, 1), one, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(result[2].key, expected[2].key, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("unchecked")
def test_streams_that_do_not_fit_are_refused():
    for block, streams, message in (
        (BLOCK, (X, CONTEXT), r"widths \[8, 7\]"),
        (BLOCK.clone(answers=3), (X, OTHER), r"answers = 3 is outside \[1, 2\]"),
        (BLOCK.clone(answers=0), (X, OTHER), "answers = 0"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda block=block, streams=streams: networks.init(block, jax.random.key(0), streams))
