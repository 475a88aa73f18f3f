"""The encoder of T5 without torch: a tiny one that transformers wrote (make_joint_transformers_fixture.py), and
published settings.

tests/peers/test_text_encoders.py compares live models.
"""

import functools

import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.networks import text_encoder
from gendiff.weights import rules, transformers_clip
from gendiff.weights import transformers_t5 as t5
from tests.quickly import quickly
from tests.refusals import refusals, settings_rows
from tests.weights.diffusers.published_transformers import OPEN_CLIP_BIGG, T5_XXL
from tests.weights.diffusers.tiny_joint_transformers import shapes, written
from tests.weights.rig import equal, names_and_shapes

SAME = 1e-4


@functools.cache
def converted():
    """(network, parameters)."""
    config, arrays, inputs, _ = written("T5")
    network = networks.T5Encoder(precision="highest", **t5.network_fields(config))
    return network, t5.params(config, arrays, shapes(network, inputs["ids"]))


def test_a_tiny_encoder_of_transformers_gives_the_same_tokens_here():
    _, _, inputs, output = written("T5")
    network, params = converted()
    mask = inputs["mask"].astype(bool)
    tokens = quickly(networks.pure(network))(params, inputs["ids"], mask).tokens
    assert output.std() > 0.1 and not mask.all()
    np.testing.assert_allclose(np.asarray(tokens)[mask], output[mask], rtol=SAME, atol=SAME * output.std())


def test_our_parameters_return_under_the_same_names_bit_for_bit_though_queries_are_larger():
    config, arrays, _, _ = written("T5")
    network, params = converted()
    theirs = rules.to_theirs(params, t5.rules(config))
    assert set(theirs) == set(arrays) and all(np.array_equal(theirs[key], arrays[key]) for key in arrays)
    query = arrays["encoder.block.1.layer.0.SelfAttention.q.weight"].astype(np.float32)
    np.testing.assert_array_equal(params["block_1"]["qkv"]["kernel"][:, :8], 2 * query.T)


def test_the_table_of_tokens_has_two_names_and_a_decoder_is_left_out():
    config, arrays, inputs, _ = written("T5")
    network, params = converted()
    like, table = shapes(network, inputs["ids"]), arrays[t5.TABLE]
    others = {key: array for key, array in arrays.items() if key != t5.TABLE}
    decoder = {"decoder.block.0.layer.0.SelfAttention.q.weight": np.ones((8, 12)), "lm_head.weight": np.ones((24, 12))}
    for tables in ({t5.TIED: table}, {t5.TABLE: table, t5.TIED: table}):
        assert equal(t5.params(config, others | tables | decoder, like), params)
    with pytest.raises(CheckpointMismatchError, match="encoder.embed_tokens.weight differs from shared.weight"):
        t5.params(config, arrays | {t5.TIED: table + np.float16(1)}, like)
    with pytest.raises(CheckpointMismatchError, match="1 missing: shared.weight"):
        t5.params(config, others, like)
    with pytest.raises(
        CheckpointMismatchError,
        match="1 left over: encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight",
    ):
        more = {"encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight": np.ones((32, 2), np.float32)}
        t5.params(config, arrays | more, like)


def test_t5_xxl_is_the_default_network_and_its_arrays_have_their_names_and_shapes():
    network = networks.T5Encoder(**t5.network_fields(T5_XXL))
    assert network == networks.T5Encoder()
    config = T5_XXL | {"num_layers": 2}
    small = networks.T5Encoder(**t5.network_fields(config))
    theirs = names_and_shapes(shapes(small, np.zeros((1, 4), np.int32)), t5.rules(config))
    assert len(theirs) == 3 + 2 * 9
    assert {
        "shared.weight": (32128, 4096),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 64),
        "encoder.block.1.layer.0.SelfAttention.o.weight": (4096, 4096),
        "encoder.block.1.layer.1.DenseReluDense.wi_1.weight": (10240, 4096),
        "encoder.block.1.layer.1.DenseReluDense.wo.weight": (4096, 10240),
        "encoder.block.1.layer.1.layer_norm.weight": (4096,),
        "encoder.final_layer_norm.weight": (4096,),
    }.items() <= theirs.items()


def test_the_second_encoder_of_stable_diffusion_xl_is_bigg_with_its_number_of_parameters():
    network = networks.TextEncoder(**transformers_clip.network_fields(OPEN_CLIP_BIGG))
    assert network == text_encoder.open_clip_vit_bigg_14(end=49407)
    first, second = (networks.count(shapes(network.clone(depth=depth), np.zeros((1, 4), np.int32))) for depth in (1, 2))
    assert network.depth == 32 and first + 31 * (second - first) == 694_659_840


UNMATCHED = {
    "feed_forward_proj": ["relu", "gated-relu"],
    "dense_act_fn": ["relu", "gelu"],
    "is_gated_act": [False],
    "is_decoder": [True],
    "d_kv": [32, 48, 0],
    "relative_attention_num_buckets": [30, 0],
    "relative_attention_max_distance": [8],
    "model_type": ["mt5", "umt5"],
    "architectures": [["UMT5EncoderModel"], ["T5ForTokenClassification"]],
    "layer_norm_epsilon": ["1e-6"],
    "vocab_size": [None],
    "num_layers": [24.0],
    "quantization_config": [{"load_in_8bit": True}],
}


FIRST = {"architectures": ["T5EncoderModel"], "model_type": "t5"}
"""The first version, whose MLPs have no gate."""
test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(
    refusals(
        *settings_rows(t5.network_fields, T5_XXL, UNMATCHED, ConfigError),
        (
            lambda: t5.network_fields(FIRST),
            "feed_forward_proj = 'relu' is not supported, only 'gated-gelu', 'gated-silu'",
            ConfigError,
        ),
    )
)


def test_a_gate_of_silu_is_followed():
    assert (
        t5.network_fields(T5_XXL | {"feed_forward_proj": "gated-silu", "dense_act_fn": "silu"})["activation"] == "silu"
    )
