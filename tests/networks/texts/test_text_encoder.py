import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import text_encoder
from tests.networks.rig import apply, random_params
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

END = 17
IDS = np.array([[3, 7, 5, END, 0, 0], [3, 9, END, END, 19, 1]], np.int32)
SHOWN = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
ALL = np.ones_like(SHOWN)


def clip(**changes):
    fields = {
        "vocabulary": 20,
        "positions": 8,
        "width": 16,
        "depth": 1,
        "heads": 2,
        "activation": "quick_gelu",
        "end": END,
    }
    return networks.TextEncoder(**(fields | changes))


def bert(**changes):
    kind = {"causal": False, "norm_first": False, "token_types": 2, "pooling": "mean", "activation": "gelu"}
    return clip(**(kind | changes))


both = table("build", [clip, bert])


@functools.cache
def params(network):
    return random_params(network, IDS)


def run(network, params, *inputs):
    return apply(networks.pure(network), params, *inputs)


def encoded(network, ids, mask=ALL, *types):
    """What a network answers, by one program for all texts of a shape, whatever their mask."""
    return jax.tree.map(np.asarray, run(network, params(network), ids, mask, *types))


@both
def test_parameters_are_a_plain_float32_dict_and_the_result_has_a_vector_per_token_and_text(build):
    full = params(build(projection=5))
    assert type(full) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(full))
    assert trees.paths(full)["projection/kernel"].shape == (16, 5) and "bias" not in full["projection"]
    assert ("output_norm" in full, "embedding_norm" in full, "type" in full) == (
        (True, False, False) if build is clip else (False, True, True)
    )
    features = jax.eval_shape(networks.pure(build(projection=5)), full, IDS)
    assert (features.tokens.shape, features.mask.shape, features.pooled.shape) == ((2, 6, 16), (2, 6), (2, 5))
    assert features.tokens.dtype == features.pooled.dtype == np.float32
    assert networks.pure(build()) == networks.pure(build())


def test_without_a_mask_every_token_counts():
    plain, masked = jax.tree.map(np.asarray, run(bert(), params(bert()), IDS)), encoded(bert(), IDS)
    assert plain.mask.all()
    np.testing.assert_allclose(plain.tokens, masked.tokens, atol=1e-6)
    np.testing.assert_allclose(plain.pooled, masked.pooled, atol=1e-6)


def test_a_causal_token_does_not_depend_on_later_ones_and_another_one_does():
    changed = np.where(np.arange(6)[None] >= 4, 2, IDS).astype(np.int32)
    np.testing.assert_array_equal(encoded(clip(), IDS).tokens[:, :4], encoded(clip(), changed).tokens[:, :4])
    assert np.abs(encoded(clip(), IDS).tokens[:, 4] - encoded(clip(), changed).tokens[:, 4]).max() > 1e-3
    assert np.abs(encoded(bert(), IDS).tokens[:, :4] - encoded(bert(), changed).tokens[:, :4]).max() > 1e-3


@both
def test_padding_changes_neither_tokens_nor_the_vector_of_the_text_whatever_it_holds_and_how_long_it_is(build):
    here, other = (encoded(build(), ids.astype(np.int32), SHOWN) for ids in (IDS, np.where(SHOWN, IDS, 11)))
    np.testing.assert_array_equal(here.pooled, other.pooled)
    np.testing.assert_array_equal(here.tokens[SHOWN], other.tokens[SHOWN])
    np.testing.assert_array_equal(here.mask, SHOWN)
    short = encoded(build(), IDS[[0, 1, 0, 1], :4], ALL[[0, 1, 0, 1], :4])
    np.testing.assert_allclose(here.tokens[0, :4], short.tokens[0], atol=1e-6)
    np.testing.assert_allclose(here.pooled[0], short.pooled[0], atol=1e-6)
    unmasked = encoded(build(), IDS)
    # no token of a causal text sees what follows
    assert (np.abs(unmasked.pooled[0] - here.pooled[0]).max() > 1e-3) == (build is bert)


def test_a_text_is_pooled_at_its_first_end_even_if_ends_pad_it_or_a_larger_id_is_in_it():
    features = encoded(clip(), IDS)
    np.testing.assert_array_equal(features.pooled, features.tokens[[0, 1], [3, 2]])
    features = encoded(clip(), np.array([[3, 19, END, 2, 2, 2], [18, END, 2, 2, END, 19]], np.int32))
    np.testing.assert_array_equal(features.pooled, features.tokens[[0, 1], [2, 1]])


def test_a_mean_is_that_of_the_tokens_that_count_and_gets_the_length_one():
    plain, unit = encoded(bert(), IDS, SHOWN), encoded(bert(normalize=True), IDS, SHOWN)
    np.testing.assert_allclose(plain.pooled[0], plain.tokens[0, :4].mean(0), atol=1e-6)
    np.testing.assert_allclose(plain.pooled[1], plain.tokens[1].mean(0), atol=1e-6)
    np.testing.assert_allclose(
        unit.pooled, plain.pooled / np.linalg.norm(plain.pooled, axis=-1, keepdims=True), atol=1e-6
    )


@both
def test_without_the_last_block_tokens_are_those_of_a_shallower_encoder_and_the_vector_of_the_text_is_not(build):
    params_of_two, networks_of_two = params(build(depth=2)), (build(depth=2), build(depth=2, skip_last=1))
    answers = quickly(lambda params: [networks.pure(network)(params, IDS, ALL) for network in networks_of_two])
    deep, skipped = jax.tree.map(np.asarray, answers(params_of_two))
    shallow = run(build(), {name: leaf for name, leaf in params_of_two.items() if name != "block_1"}, IDS, ALL)
    np.testing.assert_allclose(skipped.tokens, shallow.tokens, atol=1e-6)
    np.testing.assert_allclose(skipped.pooled, deep.pooled, atol=1e-6)
    assert np.abs(skipped.tokens - deep.tokens).max() > 1e-2


@pytest.mark.parametrize("skip", some_slow((1, 0), (0,)))
def test_tokens_before_the_last_norm_become_those_behind_it_and_the_vector_of_the_text_has_it(skip):
    full, bare = params(clip(depth=2)), clip(depth=2, skip_last=skip, norm_tokens=False)
    before, behind = (
        jax.tree.map(np.asarray, run(network, full, IDS)) for network in (bare, clip(depth=2, skip_last=skip))
    )
    centred = before.tokens - before.tokens.mean(-1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
    scale, bias = (np.asarray(full["output_norm"][name]) for name in ("scale", "bias"))
    np.testing.assert_allclose(normed * scale + bias, behind.tokens, atol=1e-4)
    np.testing.assert_allclose(before.pooled, behind.pooled, atol=1e-6)
    assert np.abs(before.tokens - behind.tokens).max() > 1e-2


def test_kinds_of_tokens_are_told_apart_and_none_means_the_first():
    plain, first, second = (
        encoded(bert(), IDS, SHOWN, *types) for types in ((), (np.zeros_like(IDS),), (np.ones_like(IDS),))
    )
    np.testing.assert_array_equal(plain.tokens, first.tokens)
    assert np.abs(first.tokens - second.tokens).max() > 1e-3


def test_positions_are_told_apart():
    same = encoded(bert(), np.full((2, 6), 3, np.int32)).tokens[0]
    assert np.abs(same[0] - same[1:]).max(-1).min() > 1e-3


@both
def test_under_jit_an_unknown_id_and_a_text_that_cannot_be_pooled_are_nan_in_their_own_text_alone(build):
    ids = np.array([[3, 20, END, 0], [3, -1, END, 0], [3, 7, 7, 0], [3, 7, END, 0]], np.int32)
    features = run(build(), params(build()), ids, np.array([[True], [True], [False], [True]]).repeat(4, 1))
    assert np.isnan(features.pooled[:3]).all() and np.isfinite(features.pooled[3]).all()
    assert np.isnan(features.tokens[:2, 1]).all() and np.isfinite(features.tokens[2:]).all()


def test_bfloat16_is_close_to_float32():
    full, half = encoded(clip(), IDS), run(clip(dtype="bfloat16"), params(clip()), IDS, ALL)
    assert half.tokens.dtype == half.pooled.dtype == jnp.bfloat16
    difference = np.asarray(half.tokens, np.float32) - full.tokens
    assert np.sqrt(np.mean(difference**2)) < 0.05 * np.sqrt(np.mean(full.tokens**2))


@pytest.mark.float64
def test_parameters_in_float64_are_computed_with_in_float64_alone():
    with jax.enable_x64(False):
        single = jax.tree.map(np.asarray, params(bert(normalize=True)))
    jaxpr = jax.make_jaxpr(networks.pure(bert(normalize=True)))(trees.cast(single, jnp.float64), IDS, SHOWN)
    assert "f32[" not in str(jaxpr)


@pytest.mark.slow
def test_recomputed_blocks_have_the_same_gradients():
    def loss(towers, network):
        features = networks.pure(network)(towers, IDS, SHOWN)
        return jnp.sum(features.tokens[:, :3] ** 2) + jnp.sum(features.pooled)

    plain, again = (
        quickly(jax.grad(functools.partial(loss, network=bert(remat=remat))))(params(bert())) for remat in (False, True)
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), plain, again)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(plain))


@table(
    "build, numbers",
    [
        (text_encoder.clip_vit_l_14, 123_060_480),
        (text_encoder.open_clip_vit_h_14, 352_984_064),
        (text_encoder.mini_lm_l6, 22_565_376),
    ],
)
def test_a_published_encoder_has_as_many_numbers_as_its_paper_or_file_says(build, numbers):
    """CLIP's text model has 123.1 million in Stable Diffusion, OpenCLIP's 24 blocks 353.0; MiniLM has 22.7 with its
    pooler of 147,840.
    """

    def count(depth):
        return networks.count(
            jax.eval_shape(lambda: networks.init(build(depth=depth), jax.random.key(0), np.zeros((1, 4), np.int32)))
        )

    one, two = count(1), count(2)
    assert one + (build().depth - 1) * (two - one) == numbers


def refused(network, *inputs):
    return lambda: networks.pure(network)(params(clip() if network.causal else bert()), *inputs)


def built(**changes):
    return lambda: jax.eval_shape(lambda: networks.init(clip(**changes), jax.random.key(0), IDS))


test_inputs_and_fields_against_the_rules_are_refused = refusals(
    (refused(clip(), np.zeros((1, 9), np.int32)), r"shape \(1, 9\).*1 to 8 tokens"),
    (refused(clip(), IDS[0]), r"shape \(6,\)"),
    (refused(clip(), IDS.astype(np.float32)), "ids must hold integers, got float32", TypeError),
    (refused(clip(), np.where(IDS == 7, 20, IDS)), "ids holds 20, which is none of 0 … 19"),
    (refused(clip(), IDS, SHOWN[:, :5]), "mask has shape"),
    (refused(clip(), IDS, SHOWN.astype(np.int32)), "mask must be boolean", TypeError),
    (refused(clip(), np.where(IDS == END, 1, IDS)), "text 0 has no token 17, which ends a text"),
    (refused(clip(end=None), IDS), "text 0 has no token 19, which ends a text"),
    (refused(bert(), IDS, SHOWN & [[True], [False]]), "text 1 has no token in the mask"),
    (refused(clip(), IDS, None, np.zeros_like(IDS)), "types were given to an encoder without"),
    (refused(bert(), IDS, None, np.full_like(IDS, 2)), "types holds 2, which is none of 0 … 1"),
    (built(end=20), r"end = 20 is outside \[0, 19\]"),
    (built(skip_last=1), r"skip_last = 1 is outside \[0, 0\]"),
    (built(pooling="first"), "pooling = 'first' is none of end, mean"),
    (built(activation="relu"), "activation = 'relu' is none of"),
    (built(epsilon=-1.0), "epsilon"),
    (built(heads=3), "heads = 3 does not divide the width 16"),
)
