"""ControlNets of diffusers, without torch: a tiny one that diffusers wrote (make_controlnet_fixture.py), and published
settings.

tests/peers/test_controlnets.py compares live models.
"""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.networks import controlnet
from gendiff.weights import diffusers_controlnet, diffusers_text_unet, rules
from tests.quickly import quickly
from tests.refusals import changed_rows, refusals
from tests.tables import table
from tests.weights import rig
from tests.weights.diffusers.published_unets import STABLE_DIFFUSION_1, STABLE_DIFFUSION_2

SAME = 1e-4
OF_UNETS = ("center_input_sample", "out_channels", "sample_size", "up_block_types")
CANNY = {name: value for name, value in STABLE_DIFFUSION_1.items() if name not in OF_UNETS} | {
    "_class_name": "ControlNetModel",
    "_diffusers_version": "0.14.0.dev0",
    "class_embed_type": None,
    "conditioning_embedding_out_channels": [16, 32, 96, 256],
    "controlnet_conditioning_channel_order": "rgb",
    "num_class_embeds": None,
    "only_cross_attention": False,
    "projection_class_embeddings_input_dim": None,
    "resnet_time_scale_shift": "default",
    "upcast_attention": False,
    "use_linear_projection": False,
}
"""The config.json of sd-controlnet-canny (from memory)."""
SHUFFLE = CANNY | {
    "_diffusers_version": "0.16.0.dev0",
    "_name_or_path": "control_v11e_sd15_shuffle",
    "global_pool_conditions": True,
}
SECOND = CANNY | {
    name: STABLE_DIFFUSION_2[name] for name in ("attention_head_dim", "cross_attention_dim", "use_linear_projection")
}


@functools.cache
def written():
    """(configs, arrays, inputs, what they told), each by its name."""
    with safetensors.safe_open(Path(__file__).with_name("controlnet_fixture.safetensors"), "numpy") as file:
        configs = json.loads(file.metadata()["configs"])
        stored = {key: file.get_tensor(key) for key in file.keys()}

    def part(name):
        return {key.removeprefix(f"{name}/"): array for key, array in stored.items() if key.startswith(f"{name}/")}

    outputs = part("told")
    return (
        configs,
        {name: part(name) for name in ("unet", "control")},
        part("inputs"),
        [outputs[str(number)] for number in range(len(outputs))],
    )


def call_inputs():
    """The inputs of our networks, the hint last."""
    inputs = written()[2]
    text = networks.Text(inputs["tokens"], np.ones(inputs["tokens"].shape[:2], bool))
    return inputs["x"], inputs["t"], text, networks.Hint(inputs["hint"], np.float32(inputs["scale"][0]))


@functools.cache
def converted(name="control"):
    """(the function of a network, its parameters)."""
    configs, arrays, _, _ = written()
    build, module = {
        "unet": (networks.UNet, diffusers_text_unet),
        "control": (networks.ControlNet, diffusers_controlnet),
    }[name]
    network = build(precision="highest", **module.network_fields(configs[name]))
    inputs = call_inputs() if name == "control" else call_inputs()[:3]
    return networks.pure(network), module.params(configs[name], arrays[name], rig.shapes(network, *inputs))


def assert_same(actual, other):
    assert actual.shape == other.shape and other.std() > 0.02
    np.testing.assert_allclose(actual, other, rtol=SAME, atol=SAME * np.sqrt(np.mean(other**2)))


def test_a_tiny_model_of_diffusers_tells_the_same_here():
    tell, params = converted()
    outputs = quickly(tell)(params, *call_inputs())
    expected = written()[3][:-1]
    assert len(outputs.skips) + 1 == len(expected) == 5
    for actual, other in zip((*outputs.skips, outputs.middle), expected, strict=True):
        assert_same(actual, other)


@pytest.mark.slow
def test_its_unet_answers_the_same():
    (unet, actual), (tell, params) = converted("unet"), converted()
    assert_same(
        quickly(controlnet.controlled(unet, tell))({"unet": actual, "control": params}, *call_inputs()),
        written()[3][-1],
    )


def test_our_parameters_return_under_the_same_names_bit_for_bit():
    configs, arrays, _, _ = written()
    theirs = rules.to_theirs(converted()[1], diffusers_controlnet.rules(configs["control"]))
    assert set(theirs) == set(arrays["control"]) and all(
        np.array_equal(theirs[key], arrays["control"][key]) for key in theirs
    )


def test_a_single_file_has_the_arrays_of_the_folder():
    configs, arrays, _, _ = written()
    names = diffusers_controlnet.single_file_names(configs["control"])
    stored = rig.in_single_file(arrays["control"], "control_model.", names) | {
        "model.diffusion_model.out.0.bias": np.zeros(4)
    }
    known = ("input_hint_block.0.weight", "zero_convs.3.0.bias", "middle_block_out.0.weight")
    assert {f"control_model.{name}" for name in known} <= set(stored)
    named = diffusers_controlnet.of_single_file(stored, configs["control"])
    assert set(named) == set(arrays["control"]) and all(named[key] is arrays["control"][key] for key in named)
    alone = {
        name.removeprefix("control_model."): array
        for name, array in stored.items()
        if name.startswith("control_model.")
    }
    assert set(diffusers_controlnet.of_single_file(alone, configs["control"])) == set(named)
    with pytest.raises(CheckpointMismatchError, match="no array begins with 'control_model.'"):
        diffusers_controlnet.of_single_file(arrays["control"], configs["control"])


def test_a_missing_zero_convolution_is_refused_by_name():
    configs, arrays, _, _ = written()
    lacking = {key: array for key, array in arrays["control"].items() if key != "controlnet_mid_block.bias"}
    with pytest.raises(CheckpointMismatchError, match="1 missing: controlnet_mid_block.bias"):
        diffusers_controlnet.params(configs["control"], lacking, converted()[1])


# Published settings.


@table("config, pool", [(CANNY, False), (SHUFFLE, True), (SECOND, False)])
def test_a_published_model_is_a_network_of_ours_beside_the_unet_of_its_kind(config, pool):
    network = networks.ControlNet(**diffusers_controlnet.network_fields(config))
    unet = networks.UNet(
        **diffusers_text_unet.network_fields(STABLE_DIFFUSION_2 if config is SECOND else STABLE_DIFFUSION_1)
    )
    assert network.hint_channels == (16, 32, 96, 256) and network.pool is pool and network.out_channels is None
    for name in (
        "channels",
        "blocks",
        "heads",
        "text_channels",
        "transformer",
        "attention_levels",
        "transformer_depth",
    ):
        assert getattr(network, name) == getattr(unet, name)
    assert (
        len([name for name in diffusers_controlnet.single_file_names(config) if name.startswith("zero_convs.")]) == 12
    )


def test_names_of_a_published_single_file():
    known = {
        "input_hint_block.0": "controlnet_cond_embedding.conv_in",
        "input_hint_block.2": "controlnet_cond_embedding.blocks.0",
        "input_hint_block.12": "controlnet_cond_embedding.blocks.5",
        "input_hint_block.14": "controlnet_cond_embedding.conv_out",
        "zero_convs.11.0": "controlnet_down_blocks.11",
        "middle_block_out.0": "controlnet_mid_block",
        "middle_block.1": "mid_block.attentions.0",
        "input_blocks.11.0.out_layers.3": "down_blocks.3.resnets.1.conv2",
        "time_embed.0": "time_embedding.linear_1",
    }
    names = diffusers_controlnet.single_file_names(CANNY)
    assert known.items() <= names.items() and len(set(names.values())) == len(names)
    assert not [name for name in names if name.startswith(("output_blocks", "out."))]


UNMATCHED = [
    ({"controlnet_conditioning_channel_order": "bgr"}, "controlnet_conditioning_channel_order = 'bgr'"),
    ({"conditioning_embedding_out_channels": []}, r"conditioning_embedding_out_channels = \(\)"),
    ({"conditioning_embedding_out_channels": None}, "conditioning_embedding_out_channels = None"),
    ({"global_pool_conditions": None}, "global_pool_conditions = None"),
    ({"conditioning_channels": "3"}, "conditioning_channels = '3'"),
    ({"mid_block_type": "UNetMidBlock2D"}, "mid_block_type = 'UNetMidBlock2D'"),
    ({"encoder_hid_dim": 768}, "encoder_hid_dim = 768"),
    ({"class_embed_type": "timestep"}, "class_embed_type = 'timestep'"),
    ({"layers_per_block": [2, 2, 2, 2]}, "layers_per_block"),
    ({"attention_head_dim": 7}, "ControlNetModel, for its way down: .*attention_head_dim = 7"),
    ({"down_block_types": ["DownBlock2D"]}, "down_block_types"),
    ({"down_block_types": ["AttnDownBlock2D"] * 4}, "down_block_types"),
    ({"out_channels": 4}, "out_channels = 4 is a setting that these rules do not know"),
    ({"_class_name": "UNet2DConditionModel"}, "these rules are for ControlNetModel"),
]
test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(refusals(*changed_rows(diffusers_controlnet.network_fields, CANNY, UNMATCHED, ConfigError)))
