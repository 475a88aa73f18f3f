"""U-Nets of diffusers that read texts, without torch: tiny ones that diffusers wrote (make_text_unets_fixture.py), and
published settings.

tests/peers/test_text_unets.py compares live models.
"""

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.weights import diffusers_text_unet as text_unet
from gendiff.weights import rules
from tests.quickly import quickly
from tests.refusals import refusals, settings_rows
from tests.tables import table
from tests.variants import some_slow
from tests.weights import rig
from tests.weights.diffusers.published_unets import (
    CONFIGS,
    NUMBERS,
    REFINER,
    STABLE_DIFFUSION_1,
    STABLE_DIFFUSION_2,
    XL,
)
from tests.weights.diffusers.tiny_text_unets import NAMES, converted, network_inputs, shapes, written

pytestmark = pytest.mark.numbers

SAME = 1e-4


# Tiny models.


@pytest.mark.parametrize("name", some_slow(NAMES, NAMES[1:]))
def test_a_tiny_model_of_diffusers_gives_the_same_output_here(name):
    """XL's is also compared in a whole run: pipelines/stable_diffusion/test_like_diffusers.py."""
    network, params = converted(name)
    _, _, inputs, output = written(name)
    result = quickly(networks.pure(network))(params, *inputs)
    assert output.std() > 0.1 and np.abs(output[0] - output[1]).max() > 0.1
    np.testing.assert_allclose(result, output, rtol=SAME, atol=SAME * np.sqrt(np.mean(output**2)))


@table("name", NAMES)
def test_our_parameters_return_under_the_same_names_bit_for_bit(name):
    config, arrays, _, _ = written(name)
    theirs = rules.to_theirs(converted(name)[1], text_unet.rules(config))
    assert set(theirs) == set(arrays) and all(np.array_equal(theirs[key], arrays[key]) for key in arrays)


def test_a_projection_of_the_other_kind_and_a_missing_gate_are_refused_by_name():
    config, arrays, inputs, _ = written(NAMES[0])
    like = shapes(converted(NAMES[0])[0], *inputs)
    with pytest.raises(CheckpointMismatchError, match=r"proj_in.weight has shape \(4, 4, 1, 1\)"):
        text_unet.params(config | {"use_linear_projection": True}, arrays, like)
    name = "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight"
    with pytest.raises(CheckpointMismatchError, match=f"1 missing: {name}"):
        text_unet.params(config, {key: array for key, array in arrays.items() if key != name}, like)


# Published settings.


@table("config", CONFIGS.values())
def test_a_published_model_is_a_network_of_ours(config):
    fields = text_unet.network_fields(config)
    network = networks.UNet(**fields)
    assert (network.channels, network.blocks, network.groups) == (tuple(config["block_out_channels"]), 2, 32)
    assert (network.transformer, network.null_text, network.modulation) == ("stable_diffusion", False, "shift")
    assert network.text_channels == config["cross_attention_dim"] and network.out_channels == 4
    heads = config["attention_head_dim"]
    assert network.middle_attention and network.heads == (tuple(heads) if isinstance(heads, list) else heads)


def test_levels_depths_heads_and_what_joins_the_time_are_those_of_each_model():
    def fields(config, *names):
        return tuple(text_unet.network_fields(config).get(name) for name in names)

    assert fields(STABLE_DIFFUSION_1, "attention_levels", "transformer_depth", "heads") == ((0, 1, 2), 1, 8)
    assert fields(STABLE_DIFFUSION_2, "attention_levels", "transformer_depth", "heads") == (
        (0, 1, 2),
        1,
        (5, 10, 20, 20),
    )
    assert fields(XL, "attention_levels", "transformer_depth", "heads") == ((1, 2), (1, 2, 10), (5, 10, 20))
    assert fields(REFINER, "attention_levels", "transformer_depth", "heads") == ((1, 2), 4, (6, 12, 24, 24))
    assert fields(STABLE_DIFFUSION_2, "pooled_channels", "image_size") == (None, None)
    assert fields(XL, "pooled_channels", "image_size") == (1280, True)
    assert fields(REFINER, "pooled_channels", "image_size") == (1280, "score")


def test_a_pooled_width_that_is_given_says_which_numbers_join_the_time():
    fields = text_unet.network_fields(XL, pooled_channels=1536)
    assert (fields["pooled_channels"], fields["image_size"]) == (1536, "score")
    assert text_unet.network_fields(REFINER, pooled_channels=1024)["image_size"] is True


def test_one_number_for_every_level_may_be_a_list():
    listed = STABLE_DIFFUSION_1 | {"layers_per_block": [2] * 4, "cross_attention_dim": [768] * 4}
    assert text_unet.network_fields(listed) == text_unet.network_fields(STABLE_DIFFUSION_1)


@pytest.mark.slow
def test_stable_diffusion_has_its_number_of_parameters_under_its_names():
    config = STABLE_DIFFUSION_1
    network = networks.UNet(**text_unet.network_fields(config))
    like = shapes(
        network,
        *network_inputs(np.zeros((1, 8, 8, 4), np.float32), np.zeros(1, np.float32), np.zeros((1, 1, 768), np.float32)),
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(like)) == NUMBERS["Stable Diffusion 1.5"]
    theirs = rig.names_and_shapes(like, text_unet.rules(config))
    assert len(theirs) == 686
    assert {
        "conv_in.weight": (320, 4, 3, 3),
        "time_embedding.linear_1.weight": (1280, 320),
        "down_blocks.0.attentions.1.proj_in.weight": (320, 320, 1, 1),
        "down_blocks.1.resnets.0.conv_shortcut.weight": (640, 320, 1, 1),
        "down_blocks.2.attentions.0.transformer_blocks.0.attn2.to_k.weight": (1280, 768),
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.bias": (1280,),
        "up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj.weight": (10240, 1280),
        "up_blocks.3.resnets.0.conv1.weight": (320, 960, 3, 3),
        "up_blocks.3.attentions.2.transformer_blocks.0.norm3.bias": (320,),
        "conv_out.weight": (4, 320, 3, 3),
    }.items() <= theirs.items()
    assert "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.bias" not in theirs


# Settings without a match.


UNMATCHED = {
    "center_input_sample": [True],
    "freq_shift": [0.5],
    "mid_block_type": ["UNetMidBlock2D", "UNetMidBlock2DSimpleCrossAttn", None],
    "only_cross_attention": [True, [True, True, True, False]],
    "downsample_padding": [2],
    "mid_block_scale_factor": [1.4142135],
    "act_fn": ["gelu"],
    "reverse_transformer_layers_per_block": [[[1, 1, 1]] * 4],
    "encoder_hid_dim": [4096],
    "encoder_hid_dim_type": ["image_proj"],
    "num_attention_heads": [8],
    "dual_cross_attention": [True],
    "use_linear_projection": [None],
    "class_embed_type": ["timestep", "projection"],
    "addition_embed_type": ["text", "image"],
    "upcast_attention": ["yes"],
    "resnet_time_scale_shift": ["ada_group"],
    "resnet_skip_time_act": [True],
    "resnet_out_scale_factor": [2.0],
    "time_embedding_type": ["fourier"],
    "time_embedding_dim": [320],
    "time_embedding_act_fn": ["silu"],
    "timestep_post_act": ["silu"],
    "time_cond_proj_dim": [256],
    "conv_in_kernel": [1],
    "conv_out_kernel": [5],
    "attention_type": ["gated"],
    "class_embeddings_concat": [True],
    "mid_block_only_cross_attention": [True],
    "cross_attention_norm": ["layer_norm"],
    "down_block_types": [["AttnDownBlock2D"] * 4, ["DownBlock2D"] * 3],
    "up_block_types": [["CrossAttnUpBlock2D"] * 4, ["AttnUpBlock2D"] * 4],
    "block_out_channels": [[], [320, 640, 1280, 0], None],
    "layers_per_block": [[2, 2, 2, 1], 0, None, 2.0],
    "cross_attention_dim": [[768, 768, 768, 1024], "768", None],
    "transformer_layers_per_block": [[1, 2], [1, 1, [1, 1], 1], 0, None],
    "attention_head_dim": [[5, 10, 20], 7, None],
    "norm_num_groups": [None],
    "norm_eps": ["1e-5"],
    "dropout": [True],
    "num_class_embeds": [1],
    "in_channels": [None],
    "out_channels": [4.0],
    "sample_size": ["64"],
    "addition_embed_type_num_heads": [None],
    "caption_channels": [4096],
    "_class_name": ["UNet2DModel"],
}


def joined(words, pooled=None, config=XL, **changes):
    """A row of what joins the time."""
    return lambda: text_unet.network_fields(config | changes, pooled), words, ConfigError


test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(
    refusals(
        *settings_rows(text_unet.network_fields, STABLE_DIFFUSION_1, UNMATCHED, ConfigError),
        joined("addition_time_embed_dim = 8 is not supported, only 256", addition_time_embed_dim=8),
        joined("addition_time_embed_dim = None", addition_time_embed_dim=None),
        joined("flip_sin_to_cos = False is not supported, only True where", flip_sin_to_cos=False),
        joined("freq_shift = 1 is not supported, only 0 where", freq_shift=1),
        joined("projection_class_embeddings_input_dim = 1536", projection_class_embeddings_input_dim=1536),
        joined("projection_class_embeddings_input_dim = None", projection_class_embeddings_input_dim=None),
        joined("and 768 channels of a pooled text are needed", 768),
        joined("'text_time' is needed for pooled_channels = 768", 768, STABLE_DIFFUSION_1),
    )
)
