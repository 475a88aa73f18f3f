"""What the blocks of Stable Diffusion 3.5 and FLUX.1 add to the transformer block, against formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.networks import rotary, transformer
from tests.networks.blocks.block_formulas import Formula, gelu, mixed, normalised, run, started
from tests.networks.rig import random_params
from tests.refusals import refusals

BLOCK = transformer.TransformerBlock(heads=2, expansion=2)
DRAW = np.random.default_rng(0)
SHAPES = (2, 6, 8), (2, 3, 8), (2, 5, 7), (2, 3)
X, OTHER, CONTEXT, ADA = (jax.device_put(DRAW.normal(size=shape).astype(np.float32)) for shape in SHAPES)


def parts_of(formula, x, name="qkv"):
    return np.split(formula.linear(name, x), 3, -1)


def assert_close(result, expected):
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_each_stream_normalises_its_queries_and_keys_by_scales_of_its_own():
    block = BLOCK.clone(norm_heads=True)
    params = random_params(block, (X, OTHER))
    scales = {
        name: {"scale": jnp.asarray(DRAW.normal(size=4), jnp.float32)}
        for name in params
        if name.endswith(("_query", "_key"))
    }
    assert set(scales) == {"norm_query", "norm_key", "stream_1_norm_query", "stream_1_norm_key"}
    params = params | scales
    formulas, streams = (
        (Formula(params), Formula(params, "stream_1_")),
        [np.asarray(stream, np.float64) for stream in (X, OTHER)],
    )
    parts = []
    for formula, stream in zip(formulas, streams, strict=True):
        query, key, value = parts_of(formula, formula.norm("norm_0", stream))
        parts.append((formula.normed_heads("query", query), formula.normed_heads("key", key), value))
    key, value = (np.concatenate([part[at] for part in parts], 1) for at in (1, 2))
    for formula, stream, part, result in zip(formulas, streams, parts, run(block, params, (X, OTHER)), strict=True):
        y = stream + formula.linear("output", mixed(part[0], key, value))
        assert_close(result, y + formula.mlp(y))


def test_a_stream_that_is_only_looked_at_normalises_keys_alone():
    params = random_params(BLOCK.clone(norm_heads=True, answers=1), (X, OTHER))
    assert {name for name in params if "stream_1_norm" in name} == {"stream_1_norm_0", "stream_1_norm_key"}


def test_the_first_stream_also_looks_at_itself_alone_and_what_it_sees_is_gated_and_added():
    block = BLOCK.clone(own_attention=True)
    params = random_params(block, (X, OTHER), ADA)
    for result, stream in zip(run(block, started(params), (X, OTHER), ADA), (X, OTHER), strict=True):
        np.testing.assert_array_equal(result, stream)
    formulas, streams = (
        (Formula(params), Formula(params, "stream_1_")),
        [np.asarray(stream, np.float64) for stream in (X, OTHER)],
    )
    changes = [formula.changes(ADA, number) for formula, number in zip(formulas, (9, 6), strict=True)]
    parts = [
        parts_of(formula, normalised(stream) * (1 + change[1]) + change[0])
        for formula, stream, change in zip(formulas, streams, changes, strict=True)
    ]
    key, value = (np.concatenate([part[at] for part in parts], 1) for at in (1, 2))
    shift, scale, gate = changes[0][6:]
    own_attention_parts = parts_of(formulas[0], normalised(streams[0]) * (1 + scale) + shift, "own_qkv")
    added = [gate * formulas[0].linear("own_output", mixed(*own_attention_parts)), 0.0]
    results = run(block, params, (X, OTHER), ADA)
    for formula, stream, change, part, more, result in zip(
        formulas, streams, changes, parts, added, results, strict=True
    ):
        y = stream + change[2] * formula.linear("output", mixed(part[0], key, value)) + more
        wide = formula.linear("mlp_0", normalised(y) * (1 + change[4]) + change[3])
        assert_close(result, y + change[5] * formula.narrowed(wide))


def test_in_parallel_attention_and_mlp_read_one_norm_and_one_layer_narrows_both():
    block = BLOCK.clone(parallel=True)
    params = random_params(block, X, ADA)
    np.testing.assert_array_equal(run(block, started(params), X, ADA), X)
    assert set(params) == {"modulation", "qkv", "mlp_0", "output"} and params["output"]["kernel"].shape == (8 + 16, 8)
    formula, x = Formula(params), np.asarray(X, np.float64)
    shift, scale, gate = formula.changes(ADA, 3)
    read = normalised(x) * (1 + scale) + shift
    both = np.concatenate([mixed(*parts_of(formula, read)), gelu(formula.linear("mlp_0", read))], -1)
    assert_close(run(block, params, X, ADA), x + gate * formula.linear("output", both))


def test_without_a_condition_a_parallel_block_has_one_norm_of_its_own():
    block = BLOCK.clone(parallel=True)
    params = random_params(block, X)
    formula, x = Formula(params), np.asarray(X, np.float64)
    read = formula.norm("norm_0", x)
    both = np.concatenate([mixed(*parts_of(formula, read)), gelu(formula.linear("mlp_0", read))], -1)
    assert_close(run(block, params, X), x + formula.linear("output", both))


def test_each_coordinate_turns_the_channels_that_it_is_given():
    x = jnp.asarray(DRAW.normal(size=(1, 1, 1, 8)), jnp.float32)
    turned = rotary.Rotary(channels=(2, 6))
    first, second = (np.asarray(rotary.rotate(x, np.array([[at]]), turned)) for at in ([5, 0], [0, 5]))
    for result, pairs, angles in ((first, [0], [5.0]), (second, [1, 2, 3], 5.0 * 10_000.0 ** (-np.arange(3) / 3))):
        expected = np.asarray(x, np.float64).copy()
        for pair, angle in zip(pairs, angles, strict=True):
            here, there = np.asarray(x, np.float64)[..., pair], np.asarray(x, np.float64)[..., pair + 4]
            expected[..., pair] = here * np.cos(angle) - there * np.sin(angle)
            expected[..., pair + 4] = there * np.cos(angle) + here * np.sin(angle)
        np.testing.assert_allclose(result, expected, atol=1e-5)
    at = np.array([[[3, 7]]])
    np.testing.assert_array_equal(rotary.rotate(x, at, rotary.Rotary(channels=(4, 4))), rotary.rotate(x, at))


def test_coordinates_beside_the_first_one_turn_its_pairs_in_turn_by_their_own_frequencies():
    x, plain, beside = (
        jnp.asarray(DRAW.normal(size=(1, 1, 1, 10)), jnp.float32),
        rotary.Rotary(50.0),
        rotary.Rotary(50.0, beside=7.0),
    )
    np.testing.assert_array_equal(
        rotary.rotate(x, np.array([[[3, 0, 0]]]), beside), rotary.rotate(x, np.array([[[3]]]), plain)
    )
    angles = 3 * 50.0 ** (-np.arange(5) / 5) + np.array(
        [4, 2 * 1, 4 * 7.0 ** (-1 / 3), 2 * 7.0 ** (-1 / 2), 4 * 7.0 ** (-2 / 3)]
    )
    first, second = np.split(np.asarray(x, np.float64)[0, 0, 0], 2)
    spun = (first + 1j * second) * np.exp(1j * angles)
    np.testing.assert_allclose(
        rotary.rotate(x, np.array([[[3, 4, 2]]]), beside)[0, 0, 0], np.concatenate([spun.real, spun.imag]), atol=1e-5
    )


def applied(block, x, *inputs):
    return lambda: block.apply({"params": {}}, x, *inputs)


def turned(channels):
    return lambda: rotary.rotate(jnp.zeros((1, 1, 1, 8)), np.zeros((1, 1, 2), int), rotary.Rotary(channels=channels))


def turned_beside(size):
    return lambda: rotary.rotate(jnp.zeros((1, 1, 1, size)), np.zeros((1, 1, 3), int), rotary.Rotary(beside=10.0))


PARALLEL = BLOCK.clone(parallel=True)
test_what_does_not_fit_is_refused = refusals(
    (applied(PARALLEL, (X, OTHER)), "parallel = True is for one sequence.*here are streams"),
    (applied(PARALLEL, X, None, None, None, None, CONTEXT), "here are a context"),
    (applied(PARALLEL.clone(experts=networks.Experts(4, 2)), X), "here are experts"),
    (applied(PARALLEL.clone(own_attention=True), X), "here are own_attention"),
    (applied(PARALLEL.clone(norm_after=True), X), "here are norm_after"),
    (applied(PARALLEL.clone(norm_first=False), X), "they need norm_first = True"),
    (applied(BLOCK.clone(own_attention=True, norm_first=False), X), "they need norm_first = True"),
    (applied(BLOCK.clone(norm_after=True, norm_first=False), X), "they need norm_first = True"),
    (turned((2, 4)), r"channels = \(2, 4\) must be one number for each of 2 coordinates, in all the head size 8"),
    (turned((2, 2, 4)), r"channels = \(2, 2, 4\) must be one number for each of 2 coordinates"),
    (turned((3, 5)), "must be even"),
    (turned((0, 8)), "channels = 0"),
    (turned_beside(2), "head size 2 must be even, and at least 4"),
    (lambda: rotary.Rotary(beside=1.0), "beside = 1"),
    (lambda: rotary.Rotary(channels=(4, 4), beside=10.0), "give one"),
)


def test_changes_of_a_shared_modulation_stand_in_the_place_of_a_layer_of_the_block():
    params = random_params(BLOCK, (X, OTHER), ADA)
    shared = {name: f"{name}modulation" for name in ("", "stream_1_")}
    changes = {
        name: np.asarray(ADA) @ np.asarray(params[layer]["kernel"]) + np.asarray(params[layer]["bias"])
        for name, layer in shared.items()
    }
    rest = {name: layer for name, layer in params.items() if name not in shared.values()}
    for result, expected in zip(
        run(BLOCK, rest, (X, OTHER), changes), run(BLOCK, params, (X, OTHER), ADA), strict=True
    ):
        assert_close(result, expected)


def test_a_fused_layer_is_both_kernels_side_by_side():
    block = BLOCK.clone(parallel=True, gated=True)
    params = random_params(block, X)
    both = {
        name: np.concatenate([params[layer][name] for layer in ("qkv", "mlp_0")], -1) for name in ("kernel", "bias")
    }
    rest = {name: layer for name, layer in params.items() if name not in ("qkv", "mlp_0")} | {"qkv_mlp": both}
    assert_close(run(block.clone(fused=True), rest, X), run(block, params, X))
