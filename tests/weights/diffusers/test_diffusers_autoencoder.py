"""Configurations and names of AutoencoderKL, without torch; tests/peers/test_autoencoder.py compares the outputs."""

import functools

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.weights import diffusers_autoencoder as weights
from gendiff.weights import diffusers_blocks
from tests.refusals import changed_rows, refusals, settings_rows
from tests.tables import table
from tests.weights import rig

STABLE_DIFFUSION = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.2.2",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "out_channels": 3,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
NEWER = STABLE_DIFFUSION | {
    "latent_channels": 16,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "latents_mean": None,
    "latents_std": None,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "mid_block_add_attention": True,
    "force_upcast": True,
    "norm_num_groups": 32,
}
PER_CHANNEL = STABLE_DIFFUSION | {
    "scaling_factor": 0.5,
    "latents_mean": [-1.5, 0, 2.0, 3.0],
    "latents_std": [8.0, 5, 6.0, 4.0],
}
SMALL = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4,
    "out_channels": 2,
}


def shapes(config):
    return _shapes(networks.Autoencoder(**weights.network_fields(config)))


@functools.cache
def _shapes(network):
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32)))


@functools.cache
def random_pair():
    """(parameters of our small network, the same by their names)."""
    return rig.random_pair(shapes(SMALL), weights.rules(SMALL))


NAMES = {
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": (256, 128, 1, 1),
    "encoder.down_blocks.2.downsamplers.0.conv.bias": (512,),
    "encoder.mid_block.attentions.0.to_v.weight": (512, 512),
    "encoder.mid_block.resnets.1.norm2.weight": (512,),
    "encoder.conv_norm_out.weight": (512,),
    "encoder.conv_out.weight": (8, 512, 3, 3),
    "quant_conv.weight": (8, 8, 1, 1),
    "post_quant_conv.bias": (4,),
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "decoder.mid_block.attentions.0.to_out.0.bias": (512,),
    "decoder.up_blocks.0.resnets.2.conv1.weight": (512, 512, 3, 3),
    "decoder.up_blocks.2.resnets.0.conv_shortcut.weight": (256, 512, 1, 1),
    "decoder.up_blocks.2.upsamplers.0.conv.weight": (256, 256, 3, 3),
    "decoder.up_blocks.3.resnets.0.conv1.weight": (128, 256, 3, 3),
    "decoder.conv_norm_out.bias": (128,),
    "decoder.conv_out.weight": (3, 128, 3, 3),
}
NUMBERS = 83_653_863
"""Parameters of Stable Diffusion's autoencoder."""


def test_names_shapes_and_number_of_parameters_are_those_of_stable_diffusion():
    theirs = rig.names_and_shapes(shapes(STABLE_DIFFUSION), weights.rules(STABLE_DIFFUSION))
    assert (
        NAMES.items() <= theirs.items() and len(theirs) == 248 and networks.count(shapes(STABLE_DIFFUSION)) == NUMBERS
    )
    assert not any(name.startswith(("encoder.down_blocks.3.down", "decoder.up_blocks.3.up")) for name in theirs)


def test_our_parameters_return_from_their_names_bit_for_bit_and_attention_may_have_its_former_names():
    ours, theirs = random_pair()
    assert rig.equal(weights.params(SMALL, theirs, shapes(SMALL)), ours)
    assert sum(array.size for array in theirs.values()) == networks.count(ours)
    for then, now in diffusers_blocks.FORMER_NAMES.items():
        theirs = {name.replace(f".{now}.", f".{then}."): array for name, array in theirs.items()}
    assert {"encoder.mid_block.attentions.0.proj_attn.bias", "decoder.mid_block.attentions.0.query.weight"} <= set(
        theirs
    )
    assert rig.equal(weights.params(SMALL, theirs, shapes(SMALL)), ours)


@pytest.mark.fault("weights: names missing or left over")
def test_weights_of_another_configuration_are_refused_by_name():
    with pytest.raises(
        CheckpointMismatchError, match="4 left over: post_quant_conv.bias, post_quant_conv.weight, quant_conv.bias"
    ):
        bare = SMALL | {"use_quant_conv": False, "use_post_quant_conv": False}
        weights.params(bare, random_pair()[1], shapes(bare))
    missing = {name: array for name, array in random_pair()[1].items() if name != "decoder.conv_out.bias"}
    with pytest.raises(CheckpointMismatchError, match=r"1 missing: decoder.conv_out.bias \(for decoder/output/bias\)"):
        weights.params(SMALL, missing, shapes(SMALL))


@table(
    "config, network",
    [
        (STABLE_DIFFUSION, networks.Autoencoder(out_channels=3, scale=0.18215)),
        (
            NEWER,
            networks.Autoencoder(
                latent_channels=16,
                out_channels=3,
                scale=0.3611,
                shift=0.1159,
                encoder_pointwise=False,
                decoder_pointwise=False,
            ),
        ),
        (
            PER_CHANNEL,
            networks.Autoencoder(out_channels=3, scale=(0.5 / 8, 0.1, 0.5 / 6, 0.125), shift=(-1.5, 0.0, 2.0, 3.0)),
        ),
        ({}, networks.Autoencoder((64,), 1, out_channels=3, scale=0.18215)),
        (
            SMALL | {"mid_block_add_attention": False},
            networks.Autoencoder((8, 16), 1, 4, 3, 2, 4, attention=False, scale=0.18215),
        ),
    ],
)
def test_a_configuration_is_a_network_of_ours_with_the_normalisation_of_its_pipelines(config, network):
    assert networks.Autoencoder(**weights.network_fields(config)) == network


UNMATCHED = {
    "act_fn": ["relu"],
    "down_block_types": [("AttnDownEncoderBlock2D",) * 4, ("DownEncoderBlock2D",) * 3],
    "up_block_types": [("AttnUpDecoderBlock2D",) * 4],
    "block_out_channels": [None, (128, "256", 512, 512)],
    "layers_per_block": [2.0],
    "latent_channels": [None],
    "norm_num_groups": ["32"],
    "sample_size": ["512"],
    "scaling_factor": [0, -1.0, float("inf"), "1"],
    "shift_factor": ["0.1"],
    "latents_mean": [(0.0,) * 4, 0.5],
    "latents_std": [(1.0,) * 4, ("1",) * 4],
    "use_quant_conv": [1],
    "mid_block_add_attention": [None],
    "force_upcast": ["yes"],
    "_class_name": ["AutoencoderTiny", "VQModel"],
    "temporal_compression_ratio": [4],
}
TOGETHER = [
    ({"latents_mean": [0.0] * 3, "latents_std": [1.0] * 3}, r"latents_mean = \(0.0, 0.0, 0.0\)"),
    ({"latents_mean": [0.0] * 4, "latents_std": [1.0, 1.0, 0.0, 1.0]}, r"latents_std = \(1.0, 1.0, 0.0, 1.0\)"),
    ({"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4, "shift_factor": 0.1}, "shift_factor = 0.1"),
]
test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(
    refusals(
        *settings_rows(weights.network_fields, STABLE_DIFFUSION, UNMATCHED, ConfigError),
        *changed_rows(weights.network_fields, STABLE_DIFFUSION, TOGETHER, ConfigError),
    )
)
