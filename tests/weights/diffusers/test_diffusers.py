"""Configurations and names of diffusers' models, without torch; tests/peers/test_weights.py compares the outputs."""

import functools
import json

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.weights import diffusers_dit as dit
from gendiff.weights import diffusers_unet as unet
from gendiff.weights import rules
from tests.refusals import changed_rows, refusals, settings_rows
from tests.tables import table
from tests.weights import rig

pytestmark = pytest.mark.numbers

DIT_S_2 = {"_class_name": "DiTTransformer2DModel", "num_attention_heads": 6, "attention_head_dim": 64, "num_layers": 12}
LEGACY = {
    "_class_name": "Transformer2DModel",
    "cross_attention_dim": None,
    "num_vector_embeds": None,
    "only_cross_attention": False,
}
TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_layers": 3,
    "in_channels": 3,
    "num_embeds_ada_norm": 7,
    "out_channels": 5,
}
BENCHMARK = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.42.1",
    "sample_size": 32,
    "block_out_channels": [64, 128, 128],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 8,
}
DDPM = BENCHMARK | {
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
    "resnet_time_scale_shift": "default",
    "num_class_embeds": 11,
}
BLOCKS = BENCHMARK | {
    "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["ResnetUpsampleBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "sample_size": [16, 32],
}
SCALED = BENCHMARK | {"resnet_time_scale_shift": "scale_shift"}
NARROW = {"block_out_channels": [8, 16, 16], "norm_num_groups": 4, "layers_per_block": 1}
CONFIGS = {
    "U-Net of the benchmark": (unet, BENCHMARK | NARROW),
    "U-Net of DDPM": (unet, DDPM | NARROW),
    "U-Net resized in blocks": (unet, BLOCKS | NARROW),
    "DiT with patches of 2": (dit, TINY),
    "DiT with patches of 4": (dit, TINY | {"patch_size": 4}),
}


def built(module, config):
    return {dit: networks.DiT, unet: networks.UNet}[module](**module.network_fields(config))


def shapes(module, config):
    """Those of our network's parameters."""
    return _shapes(module, json.dumps(config))


def random_pair(module, config):
    """(parameters of our network, the same by their names)."""
    return rig.random_pair(shapes(module, config), module.rules(config))


@functools.cache
def _shapes(module, text):
    network = built(module, json.loads(text))
    label = () if network.num_classes is None else (np.zeros(1, np.int32),)
    x = np.zeros((1, 8, 8, (module.DEFAULTS | json.loads(text))["in_channels"]), np.float32)
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x, np.zeros(1, np.float32), *label))


# Names and shapes.


@table("module, config", CONFIGS.values())
def test_our_parameters_return_from_their_names_bit_for_bit(module, config):
    ours, theirs = random_pair(module, config)
    assert rig.equal(module.params(config, theirs, shapes(module, config)), ours)
    if module is unet:  # a DiT of theirs has an embedder in every block
        assert sum(array.size for array in theirs.values()) == networks.count(ours)


NAMES = {
    unet: {
        "conv_in.weight": (64, 3, 3, 3),
        "time_embedding.linear_1.weight": (256, 64),
        "down_blocks.0.resnets.0.time_emb_proj.weight": (64, 256),
        "down_blocks.0.downsamplers.0.conv.weight": (64, 64, 3, 3),
        "down_blocks.1.resnets.0.conv_shortcut.weight": (128, 64, 1, 1),
        "down_blocks.1.attentions.1.to_k.weight": (128, 128),
        "mid_block.attentions.0.to_out.0.bias": (128,),
        "mid_block.resnets.1.norm2.weight": (128,),
        "up_blocks.0.resnets.2.conv1.weight": (128, 256, 3, 3),
        "up_blocks.1.upsamplers.0.conv.bias": (128,),
        "up_blocks.2.resnets.0.conv1.weight": (64, 192, 3, 3),
        "conv_out.weight": (3, 64, 3, 3),
    },
    dit: {
        "pos_embed.proj.weight": (384, 4, 2, 2),
        "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1.weight": (384, 256),
        "transformer_blocks.11.norm1.emb.class_embedder.embedding_table.weight": (1001, 384),
        "transformer_blocks.11.norm1.linear.weight": (2304, 384),
        "transformer_blocks.3.attn1.to_v.bias": (384,),
        "transformer_blocks.3.attn1.to_out.0.weight": (384, 384),
        "transformer_blocks.3.ff.net.0.proj.weight": (1536, 384),
        "transformer_blocks.3.ff.net.2.weight": (384, 1536),
        "proj_out_1.weight": (768, 384),
        "proj_out_2.weight": (16, 384),
    },
}


@table("module, config", [(unet, BENCHMARK), (dit, DIT_S_2)])
def test_names_and_shapes_are_those_of_the_model(module, config):
    theirs = rig.names_and_shapes(shapes(module, config), module.rules(config))
    assert NAMES[module].items() <= theirs.items()
    assert not any(
        name.startswith(("down_blocks.2.down", "up_blocks.2.up", "down_blocks.0.attentions")) for name in theirs
    )
    assert module is unet or len(theirs) == 2 + 12 * (5 + 2 + 8 + 4) + 4


def test_sines_first_become_cosines_first():
    ours, sines = random_pair(unet, DDPM | NARROW)
    cosines = rules.to_theirs(ours, unet.rules(DDPM | NARROW | {"flip_sin_to_cos": True}))
    name = "time_embedding.linear_1.weight"
    np.testing.assert_array_equal(np.roll(sines[name], 4, 1), cosines[name])
    assert all(np.array_equal(sines[other], cosines[other]) for other in sines if other != name)


def test_attention_may_have_its_former_names():
    config = BENCHMARK | NARROW
    ours, theirs = random_pair(unet, config)
    for now, then in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        theirs = {name.replace(f".{now}.", f".{then}."): array for name, array in theirs.items()}
    assert "down_blocks.1.attentions.0.proj_attn.bias" in theirs and "mid_block.attentions.0.query.weight" in theirs
    assert rig.equal(unet.params(config, theirs, shapes(unet, config)), ours)


# Weights of other models.


def test_embedders_that_differ_between_blocks_are_refused_by_name():
    theirs = random_pair(dit, TINY)[1]
    name = "transformer_blocks.2.norm1.emb.timestep_embedder.linear_2.weight"
    theirs[name] = theirs[name] * np.float32(1.001)
    with pytest.raises(CheckpointMismatchError) as caught:
        dit.params(TINY, theirs, shapes(dit, TINY))
    assert f"1 wrong: {name} differs from {name.replace('s.2', 's.0')}" in str(caught.value)


@table(
    "module, stored, config, message",
    [
        (dit, TINY | {"num_layers": 4}, TINY, "19 left over: transformer_blocks.3.attn1"),
        (unet, BENCHMARK | NARROW, DDPM | NARROW, r"1 missing: class_embedding.weight \(for embedding/label\)"),
    ],
)
def test_weights_of_another_configuration_are_refused(module, stored, config, message):
    with pytest.raises(CheckpointMismatchError, match=message):
        module.params(config, random_pair(module, stored)[1], shapes(module, config))


# Settings.


@table(
    "module, config, network",
    [
        (unet, BENCHMARK, networks.unet.diffusers_unet((64, 128, 128), 2, (1,), head_size=8, out_channels=3)),
        (unet, {"sample_size": 64}, networks.unet.diffusers_unet(out_channels=3)),
        (
            dit,
            DIT_S_2,
            networks.DiT(2, 384, 12, 6, num_classes=1000, out_channels=4, mlp_epsilon=1e-5, frequency_shift=1),
        ),
        (dit, DIT_S_2 | LEGACY, built(dit, DIT_S_2)),
    ],
)
def test_a_configuration_is_a_network_of_ours(module, config, network):
    assert built(module, config) == network


def test_settings_of_the_first_models_are_followed():
    fields = unet.network_fields(DDPM)
    expected = {
        "epsilon": 1e-6,
        "downsample_padding": 0,
        "frequency_shift": 1,
        "heads": 1,
        "num_classes": 10,
        "modulation": "shift",
    }
    assert expected.items() <= fields.items() and "head_size" not in fields


def test_attention_stands_at_its_levels_whatever_the_size_and_the_kind_of_resampling_is_read():
    for size in (64, None, [16, 32]):
        fields = unet.network_fields(BLOCKS | {"sample_size": size})
        assert (fields["attention"], fields["attention_levels"], fields["resampling"]) == ((), (1,), "block")


UNMATCHED = {
    dit: {
        "dropout": [0.1],
        "attention_bias": [False],
        "activation_fn": ["geglu"],
        "norm_type": ["layer_norm"],
        "norm_elementwise_affine": [True],
        "num_embeds_ada_norm": [None],
        "cross_attention_dim": [768],
        "caption_channels": [4096],
        "_class_name": ["PixArtTransformer2DModel"],
        "num_layers": ["12"],
        "patch_size": [2.0, 0],
    },
    unet: {
        "center_input_sample": [True],
        "time_embedding_type": ["fourier"],
        "time_embedding_dim": [128],
        "freq_shift": [0.5],
        "mid_block_type": [None],
        "mid_block_scale_factor": [1.4142135],
        "downsample_padding": [2],
        "downsample_type": ["pool"],
        "act_fn": ["gelu"],
        "norm_num_groups": [None],
        "attn_norm_num_groups": [16],
        "resnet_time_scale_shift": ["spatial"],
        "class_embed_type": ["timestep"],
        "num_class_embeds": [1],
        "sample_size": ["32"],
        "layers_per_block": ["2"],
        "norm_eps": ["1e-5"],
        "dropout": [True],
        "attention_head_dim": [8.0],
        "down_block_types": [("SkipDownBlock2D", "AttnDownBlock2D", "DownBlock2D")],
        "up_block_types": [("UpBlock2D", "UpBlock2D", "AttnUpBlock2D"), "UpBlock2D"],
        "block_out_channels": [64, ("64", 128, 128), None],
        "_class_name": ["UNet2DConditionModel"],
        "encoder_hid_dim": [None],
    },
}
OTHERS = [
    ({"block_out_channels": [64, 128]}, "down_block_types"),
    ({"downsample_type": "resnet"}, "all must change the size alike"),
    # the attention in the middle has no norm otherwise
    ({"resnet_time_scale_shift": "scale_shift"}, "attn_norm_num_groups = None"),
]
test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(
    refusals(
        *settings_rows(dit.network_fields, DIT_S_2, UNMATCHED[dit], ConfigError),
        *settings_rows(unet.network_fields, BENCHMARK, UNMATCHED[unet], ConfigError),
        *changed_rows(unet.network_fields, BENCHMARK, OTHERS, ConfigError),
    )
)
test_what_is_no_configuration_is_refused = refusals(
    (lambda: unet.network_fields(None), "config = .* must be a mapping", ConfigError),
    (lambda: unet.network_fields([BENCHMARK]), "config = .* must be a mapping", ConfigError),
    (lambda: unet.network_fields({0: 1}), "config = .* must be a mapping", ConfigError),
)


def test_scale_and_shift_is_followed_with_groups_for_the_middle_attention_or_without_attention():
    for change in ({"attn_norm_num_groups": 32}, {"add_attention": False}):
        assert unet.network_fields(SCALED | change)["modulation"] == "scale_shift", change
