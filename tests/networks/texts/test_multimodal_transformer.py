"""Texts and pictures in one sequence, against the formulas in NumPy, the language model, and a cache."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import language, networks
from gendiff.core import records, trees
from gendiff.networks import dit, multimodal_transformer, rotary
from gendiff.networks.texts.language_model import PADDING
from gendiff.training import sharding
from tests.networks import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

RNG = np.random.default_rng(0)
FIELDS = {"vocabulary": 20, "context": 32, "width": 16, "depth": 1, "heads": 2}
NETWORK = networks.MultimodalTransformer(**FIELDS, key_value_heads=1, mlp_width=12)
PLAIN = networks.LanguageModel(**FIELDS, key_value_heads=1, mlp_width=12)
PREDICT, LANGUAGE = networks.pure(NETWORK), networks.pure(PLAIN)

BEFORE = np.array([[3, 1, 4], [1, 5, PADDING]], np.int32)
PICTURE = networks.Picture(RNG.normal(size=(2, 4, 6, 1)).astype(np.float32), np.array([0.0, 700.0], np.float32))
PATCHES = 6
AFTER = np.array([[9, 2, PADDING], [6, 5, 3]], np.int32)
PARTS = BEFORE, PICTURE, AFTER
PARAMS = rig.random_params(NETWORK, PARTS)

run = quickly(lambda params, parts: PREDICT(params, parts).outputs)


@functools.cache
def documents():
    return jax.device_get(run(PARAMS, PARTS))


# The formulas, in float64, of one sample and without its padding.


def turned(x, places, grid):
    half = x.shape[-1] // 2
    angles = places[:, None] * rotary.Rotary().frequencies(half)
    angles[:, 0::2] += grid[:, :1] * NETWORK.picture_base ** (-np.arange(half // 2) / (half // 2))
    angles[:, 1::2] += grid[:, 1:] * NETWORK.picture_base ** (-np.arange(half // 2) / (half // 2))
    spun = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)[:, None]
    return np.concatenate([spun.real, spun.imag], -1)


def silu(x):
    return x / (1 + np.exp(-x))


def patches(picture):
    return picture.reshape(2, 2, 3, 2).swapaxes(1, 2).reshape(PATCHES, 4).astype(np.float64)


def sines():
    rows, columns = np.indices((2, 3)).reshape(2, -1)
    angles = [coordinates[:, None] * 10_000.0 ** (-np.arange(4) / 4) for coordinates in (columns, rows)]
    return np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], -1)


def by_formula(row):
    """Logits of the texts, and the predicted patches."""
    weights = {name: np.asarray(value, np.float64) for name, value in trees.paths(PARAMS).items()}

    def linear(name, x):
        return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)

    def norm(name, x):
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + NETWORK.epsilon) * weights[f"{name}/scale"]

    before, after = (text[row][text[row] >= 0] for text in (BEFORE, AFTER))
    angles = PICTURE.t[row] * 10_000.0 ** (-np.arange(128) / 128)
    time = linear("picture_embedding/time_0", np.concatenate([np.cos(angles), np.sin(angles)]))
    inputs = linear("picture_input", patches(PICTURE.x[row])) + linear("picture_embedding/time_1", silu(time)) + sines()
    x = np.concatenate([weights["token"][before], inputs, weights["token"][after]])
    last = len(before) + PATCHES - 1  # the place of the picture
    places = np.concatenate([np.arange(len(before)), np.full(PATCHES, last), last + 1 + np.arange(len(after))])
    grid = np.zeros((len(places), 2))
    grid[len(before) : len(before) + PATCHES] = np.indices((2, 3)).reshape(2, -1).T

    query, key, value = np.split(linear("block_0/qkv", norm("block_0/norm_0", x)).reshape(len(x), 4, 8), [2, 3], 1)
    query, key = turned(query, places, grid), turned(key, places, grid)
    scores = np.einsum("qhd,kd->hqk", query, key[:, 0]) / np.sqrt(8)
    scores = np.where(places[None, :] <= places[:, None], scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("hqk,kd->qhd", shares / shares.sum(-1, keepdims=True), value[:, 0]).reshape(len(x), -1)
    x = x + linear("block_0/output", mixed)
    gate, up = np.split(linear("block_0/mlp_0", norm("block_0/norm_1", x)), 2, -1)
    x = norm("output_norm", x + linear("block_0/mlp_1", silu(gate) * up))
    logits = x @ weights["token"].T
    return (
        logits[: len(before)],
        linear("picture_output", x[len(before) : len(before) + PATCHES]),
        logits[len(before) + PATCHES :],
    )


@table("row", [0, 1])
def test_texts_and_pictures_are_answered_by_the_formulas(row):
    before, picture, after = (output[row] for output in documents())
    expected = by_formula(row)
    np.testing.assert_allclose(before[BEFORE[row] >= 0], expected[0], rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(patches(picture), expected[1], rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(after[AFTER[row] >= 0], expected[2], rtol=2e-4, atol=2e-4)


# What sees what.


def test_a_token_sees_what_stands_before_it_and_a_patch_its_whole_picture_too():
    untied = NETWORK.clone(tied=False)
    params = rig.random_params(untied, PARTS)
    before, after = np.array([[0, 1, 2]], np.int32), np.array([[3, 4]], np.int32)  # each token has a row of its own

    def outputs(table, x):
        document = before, networks.Picture(x, PICTURE.t[1:]), after
        first, picture, second = networks.pure(untied)(params | {"token": table}, document).outputs
        parts = [
            part[0] * np.cos(np.arange(part[0].size)).reshape(part[0].shape)
            for part in (first, dit.patches(picture, 2), second)
        ]
        return jnp.concatenate([part.sum(-1) for part in parts])

    by_table, by_x = jax.device_get(quickly(jax.jacrev(outputs, (0, 1)))(params["token"], PICTURE.x[1:]))
    by_patch = np.stack([np.abs(patches(slope)).sum(-1) for slope in by_x[:, 0]])
    by_token = np.abs(by_table).sum(-1)
    moved = np.concatenate([by_token[:, :3], by_patch, by_token[:, 3:5]], 1) > 0
    coordinates = np.array([0, 1, 2, *[8] * PATCHES, 9, 10])
    np.testing.assert_array_equal(moved, coordinates[None, :] <= coordinates[:, None])


def test_the_order_of_samples_changes_nothing():
    turned_round = tuple(jax.tree.map(lambda leaf: leaf[::-1], part) for part in PARTS)
    for result, expected, ids in zip(run(PARAMS, turned_round), documents(), (BEFORE, None, AFTER), strict=True):
        there = slice(None) if ids is None else ids >= 0
        np.testing.assert_allclose(np.asarray(result)[::-1][there], expected[there], atol=1e-5)


# It is a language model.


def program(function, *inputs):
    """What a function computes, as JAX writes it down, without the addresses of rules of derivatives."""
    return re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(functools.partial(function, *inputs))()))


def test_ids_alone_are_the_program_of_the_language_model_with_and_without_a_cache():
    params = rig.random_params(PLAIN, BEFORE)
    assert params.keys() < PARAMS.keys()
    held = language.cache.full(PLAIN, 2, 8)
    for inputs in ((BEFORE,), (BEFORE, held), (BEFORE, None, False), (BEFORE, None, True, BEFORE * 0)):
        assert program(PREDICT, params, *inputs) == program(LANGUAGE, params, *inputs)


# With a cache.

CACHES = {
    "full": language.cache.full,
    "paged": functools.partial(language.cache.paged, pages=12, page=5),
    "int8": language.cache.int8,
}
ask = quickly(lambda params, parts, cache: PREDICT(params, parts, cache))


@pytest.mark.parametrize("kind", some_slow(CACHES, ("paged", "int8")))
def test_parts_one_after_the_other_with_a_cache_are_answered_as_at_once(kind):
    held, outputs = CACHES[kind](NETWORK, 2, 14), []
    for part in PARTS:
        answer = ask(PARAMS, (part,), held)
        assert isinstance(answer, multimodal_transformer.MixedAnswer) and answer.routing == ()
        held, outputs = answer.cache, [*outputs, *jax.device_get(answer.outputs)]
    np.testing.assert_array_equal(held.length, [3 + PATCHES + 2, 2 + PATCHES + 3])
    tolerance = 5e-2 if kind == "int8" else 1e-5
    for result, expected, ids in ((outputs[0], documents()[0], BEFORE), (outputs[2], documents()[2], AFTER)):
        np.testing.assert_allclose(result[ids >= 0], expected[ids >= 0], atol=tolerance)
    np.testing.assert_allclose(outputs[1], documents()[1], atol=tolerance)
    assert np.isnan(ask(PARAMS, (PICTURE,), held).outputs[0]).all()  # there is no room for all of it


def test_denoising_is_the_call_with_a_picture_alone():
    held = language.cache.full(NETWORK, 2, 14)
    denoised = program(networks.pure(NETWORK, "denoise"), PARAMS, PICTURE.x, PICTURE.t, held)
    assert denoised == program(lambda: PREDICT(PARAMS, (PICTURE,), held).outputs[0])


def test_documents_are_answered_on_explicit_axes():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    placed = sharding.replicate(PARAMS, mesh), sharding.shard(PARTS, mesh)
    outputs = run.lower(*placed).out_info
    assert [output.shape for output in outputs] == [output.shape for output in documents()]


def call(*parts, cache=None, all_tokens=True, segments=None, **changes):
    return lambda: NETWORK.clone(**changes).apply({"params": PARAMS}, parts, cache, all_tokens, segments)


test_what_does_not_fit_is_refused = refusals(
    (call(), "there is no part"),
    (call(BEFORE, AFTER[:1]), r"parts have \[1, 2\] samples"),
    (call(PICTURE, records.replace(PICTURE, x=np.zeros((2, 4, 4, 3)))), r"parts have \[1, 3\] channels"),
    (call(records.replace(PICTURE, x=np.zeros((2, 5, 4, 1)))), "multiples of 2"),
    (call(records.replace(PICTURE, t=np.zeros(1))), "one time per sample"),
    (call(records.replace(PICTURE, x=np.zeros((2, 4, 4, 1), int))), "must be a floating array", TypeError),
    (call(BEFORE[0]), "part 0 has shape"),
    (call(BEFORE + 20), "part 0 holds"),
    (call(BEFORE / 1.0), "must hold integers", TypeError),
    (call(BEFORE, *[PICTURE] * 5), "the parts take 33 places"),
    (call(BEFORE, PICTURE, cache=language.cache.full(NETWORK, 2, 14)), "2 parts with a cache"),
    (call(PICTURE, cache=language.cache.ring(NETWORK, 2, 14, window=4)), "the cache has window = 4"),
    (call(BEFORE, all_tokens=False), "for ids alone"),
    (call(BEFORE, segments=BEFORE), "for ids alone"),
    (call(BEFORE, positions="learned"), "positions = 'learned'"),
    (call(BEFORE, window=3), "window = 3"),
    (call(BEFORE, patch=0), "patch = 0"),
    (call(PICTURE, picture_base=1.0), "picture_base = 1"),
)
