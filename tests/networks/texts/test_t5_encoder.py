import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import t5_encoder
from tests.networks.rig import apply, random_params
from tests.refusals import refusals

IDS = np.array([[3, 7, 5, 1, 0, 0], [3, 9, 4, 4, 18, 1]], np.int32)
SHOWN = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)


def t5(**changes):
    fields = {
        "vocabulary": 20,
        "width": 12,
        "depth": 2,
        "heads": 2,
        "head_size": 4,
        "mlp_width": 10,
        "distances": 8,
        "farthest": 6,
    }
    return networks.T5Encoder(**(fields | changes))


@functools.cache
def params(network):
    leaves = random_params(network, IDS)
    return leaves | {"distance": 5 * leaves["distance"]}  # so that distances matter


def encoded(network, *inputs):
    return jax.tree.map(np.asarray, apply(networks.pure(network), params(network), *inputs))


def test_short_distances_have_a_class_each_longer_ones_share_one_by_their_logarithm_and_the_two_directions_differ():
    classes = t5_encoder.distance_classes(140, 32, 128)
    edges = {
        0: 0,
        1: 1,
        7: 7,
        8: 8,
        11: 8,
        12: 9,
        15: 9,
        16: 10,
        22: 10,
        23: 11,
        31: 11,
        32: 12,
        63: 13,
        64: 14,
        90: 14,
        91: 15,
        139: 15,
    }
    assert {distance: classes[139, 139 - distance] for distance in edges} == edges, "looking back"
    np.testing.assert_array_equal(np.triu(classes, 1), np.triu(classes.T + 16, 1))
    for length, distances, farthest in ((40, 32, 128), (30, 8, 20), (9, 4, 2)):
        classes_of_pairs = t5_encoder.distance_classes(length, distances, farthest)
        assert classes_of_pairs.min() == 0 and classes_of_pairs.max() < distances
        assert all((np.diff(classes_of_pairs[-1, ::-1]) >= 0).tolist()), "farther is never a lower class"


def test_every_layer_is_that_of_the_paper_and_all_blocks_share_the_numbers_of_the_distances():
    """Against NumPy. Scores are divided by the root of the head size, as everywhere here."""
    network, arrays = t5(), jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params(t5()))
    assert {path for path in trees.paths(arrays) if "distance" in path} == {"distance"}
    assert not [path for path in trees.paths(arrays) if path.endswith("bias")]
    bias = arrays["distance"][t5_encoder.distance_classes(6, 8, 6)].transpose(2, 0, 1)

    def norm(x, layer):
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-6) * layer["scale"]

    def one(text, present):
        x = arrays["token"][text]
        for block in (arrays["block_0"], arrays["block_1"]):
            parts = np.split(norm(x, block["norm_0"]) @ block["qkv"]["kernel"], 3, -1)
            query, key, value = (part.reshape(6, 2, 4).transpose(1, 0, 2) for part in parts)
            scores = query / 2 @ key.transpose(0, 2, 1) + bias + np.where(present, 0.0, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (weights / weights.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(6, 8)
            x = x + mixed @ block["output"]["kernel"]
            gate, linear = np.split(norm(x, block["norm_1"]) @ block["mlp_0"]["kernel"], 2, -1)
            gelu = 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
            x = x + gelu * linear @ block["mlp_1"]["kernel"]
        return norm(x, arrays["output_norm"])

    result = encoded(network, IDS, SHOWN)
    assert result.pooled is None and result.tokens.shape == (2, 6, 12)
    for text, present, tokens in zip(IDS, SHOWN, result.tokens, strict=True):
        np.testing.assert_allclose(tokens, one(text, present[None, None]), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(result.mask, SHOWN)


def test_tokens_know_how_far_apart_they_stand_and_not_where_they_stand():
    later = np.concatenate([np.full((2, 3), 11, np.int32), IDS], 1)
    moved = encoded(t5(), later, np.concatenate([np.zeros((2, 3), bool), SHOWN], 1))
    np.testing.assert_allclose(moved.tokens[:, 3:][SHOWN], encoded(t5(), IDS, SHOWN).tokens[SHOWN], atol=1e-5)
    mirrored = encoded(t5(), IDS[:, ::-1].copy()).tokens[:, ::-1]
    assert np.abs(mirrored - encoded(t5(), IDS).tokens).max() > 1e-2


def test_padding_changes_no_token_and_without_a_mask_every_token_counts():
    here, other = (encoded(t5(), ids.astype(np.int32), SHOWN) for ids in (IDS, np.where(SHOWN, IDS, 13)))
    np.testing.assert_array_equal(here.tokens[SHOWN], other.tokens[SHOWN])
    full = encoded(t5(), IDS)
    assert full.mask.all() and np.abs(full.tokens[0] - here.tokens[0]).max() > 1e-3
    np.testing.assert_allclose(full.tokens[1], here.tokens[1], atol=1e-5)


def test_under_jit_an_unknown_id_is_nan_in_its_own_text_alone():
    ids = np.where(np.array([[True], [False]]) & (IDS == 7), 20, IDS).astype(np.int32)
    tokens = encoded(t5(), ids).tokens
    assert np.isnan(tokens[0]).all() and np.isfinite(tokens[1]).all()


@pytest.mark.float64
def test_parameters_in_float64_are_computed_with_in_float64_alone():
    with jax.enable_x64(False):
        single = params(t5())
    jaxpr = jax.make_jaxpr(networks.pure(t5()))(trees.cast(single, jnp.float64), IDS, SHOWN)
    assert "f32[" not in str(jaxpr)


def test_the_encoder_of_t5_xxl_has_its_published_number_of_parameters():
    def number(depth):
        network = networks.T5Encoder(depth=depth)
        return networks.count(
            jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 4), np.int32)))
        )

    assert networks.T5Encoder().depth == 24 and number(1) + 23 * (number(2) - number(1)) == 4_762_310_656


def refused(network, *inputs):
    return lambda: networks.pure(network)(params(t5()), *inputs)


test_inputs_and_fields_against_the_rules_are_refused = refusals(
    (refused(t5(), IDS[0]), r"shape \(6,\).*1 token or more"),
    (refused(t5(), IDS[:, :0]), "1 token or more"),
    (refused(t5(), IDS.astype(np.float32)), "ids must hold integers, got float32", TypeError),
    (refused(t5(), np.where(IDS == 7, 20, IDS)), "ids holds 20, which is none of 0 … 19"),
    (refused(t5(), IDS, SHOWN[:, :5]), "mask has shape"),
    (refused(t5(), IDS, SHOWN.astype(np.int32)), "mask must be boolean", TypeError),
    (refused(t5(distances=6), IDS), "distances = 6 must be divisible by 4"),
    (refused(t5(farthest=2), IDS), r"farthest = 2 is outside \[3"),
    (refused(t5(depth=0), IDS), "depth = 0"),
    (refused(t5(activation="relu"), IDS), "activation = 'relu' is none of"),
    (refused(t5(epsilon=-1.0), IDS), "epsilon"),
)
