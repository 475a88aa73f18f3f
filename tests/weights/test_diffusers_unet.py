"""UNet2DModel's configuration and names, without torch; tests/peers/test_weights.py compares the outputs."""

import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.weights import diffusers_unet as unet
from gendiff.weights import rules
from tests.weights import models

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
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "sample_size": [16, 32],
}
BLOCKS["up_block_types"] = ["ResnetUpsampleBlock2D", "AttnUpBlock2D", "UpBlock2D"]
CONFIGS = {"benchmark": BENCHMARK, "ddpm": DDPM, "resized in blocks": BLOCKS}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_our_parameters_return_from_their_names_bit_for_bit(config):
    ours = models.drawn(unet, config)
    theirs = rules.to_theirs(ours, unet.rules(config))
    assert models.equal(unet.params(config, theirs, models.shapes(unet, config)), ours)
    assert sum(array.size for array in theirs.values()) == networks.count(ours)


def test_names_and_shapes_are_those_of_the_model():
    theirs = {name: array.shape for name, array in rules.to_theirs(models.drawn(unet, BENCHMARK), unet.rules(BENCHMARK)).items()}
    known = {
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
    }
    assert known.items() <= theirs.items()
    assert not [
        name for name in theirs if name.startswith(("down_blocks.2.downsamplers", "up_blocks.2.upsamplers", "down_blocks.0.attentions"))
    ]
    assert sum(map(np.prod, theirs.values())) == networks.count(models.shapes(unet, BENCHMARK))


def test_the_benchmarks_configuration_is_a_network_of_ours():
    fields = unet.network_fields(BENCHMARK)
    assert networks.UNet(**fields) == networks.unet.diffusers_unet((64, 128, 128), 2, (1,), head_size=8, out_channels=3)


def test_their_defaults_are_those_of_diffusers_unet():
    assert networks.UNet(**unet.network_fields({"sample_size": 64})) == networks.unet.diffusers_unet(out_channels=3)


def test_settings_of_the_first_models_are_followed():
    fields = unet.network_fields(DDPM)
    wanted = {"epsilon": 1e-6, "downsample_padding": 0, "frequency_shift": 1, "heads": 1, "num_classes": 10, "modulation": "shift"}
    assert wanted.items() <= fields.items() and "head_size" not in fields


def test_attention_stands_at_its_levels_whatever_the_size_and_the_kind_of_resampling_is_read():
    for size in (64, None, [16, 32]):
        fields = unet.network_fields(BLOCKS | {"sample_size": size})
        assert (fields["attention"], fields["attention_levels"], fields["resampling"]) == ((), (1,), "block")


def test_sines_first_become_cosines_first():
    ours = models.drawn(unet, DDPM)
    sines, cosines = (rules.to_theirs(ours, unet.rules(DDPM | {"flip_sin_to_cos": flip})) for flip in (False, True))
    name = "time_embedding.linear_1.weight"
    np.testing.assert_array_equal(np.roll(sines[name], 32, 1), cosines[name])
    assert all(np.array_equal(sines[other], cosines[other]) for other in sines if other != name)


def test_attention_may_have_its_former_names():
    ours = models.drawn(unet, BENCHMARK)
    former = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def before(name):
        for now, then in former.items():
            name = name.replace(f".{now}.", f".{then}.")
        return name

    theirs = {before(name): array for name, array in rules.to_theirs(ours, unet.rules(BENCHMARK)).items()}
    assert "down_blocks.1.attentions.0.proj_attn.bias" in theirs and "mid_block.attentions.0.query.weight" in theirs
    assert models.equal(unet.params(BENCHMARK, theirs, models.shapes(unet, BENCHMARK)), ours)


def test_weights_of_another_configuration_are_refused():
    theirs = rules.to_theirs(models.drawn(unet, BENCHMARK), unet.rules(BENCHMARK))
    with pytest.raises(CheckpointMismatchError, match=r"1 missing: class_embedding.weight \(for embedding/label\)"):
        unet.params(DDPM, theirs, models.shapes(unet, DDPM))


UNSUPPORTED = {
    "center_input_sample": True,
    "time_embedding_type": "fourier",
    "time_embedding_dim": 128,
    "freq_shift": 0.5,
    "mid_block_type": None,
    "mid_block_scale_factor": 1.4142135,
    "downsample_padding": 2,
    "downsample_type": "pool",
    "act_fn": "gelu",
    "norm_num_groups": None,
    "attn_norm_num_groups": 16,
    "resnet_time_scale_shift": "spatial",
    "class_embed_type": "timestep",
    "num_class_embeds": 1,
    "sample_size": "32",
    "layers_per_block": "2",
    "norm_eps": "1e-5",
    "dropout": True,
    "attention_head_dim": 8.0,
    "down_block_types": ["SkipDownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D"],
    "block_out_channels": [64, 128],
    "_class_name": "UNet2DConditionModel",
    "encoder_hid_dim": None,
}
WRONG_LISTS = [
    ("block_out_channels", 64),
    ("block_out_channels", ["64", 128, 128]),
    ("block_out_channels", None),
    ("up_block_types", "UpBlock2D"),
]


@pytest.mark.parametrize(("name", "value"), [*UNSUPPORTED.items(), *WRONG_LISTS])
def test_a_setting_without_a_match_is_refused_by_name_and_value(name, value):
    with pytest.raises(ConfigError) as caught:
        unet.network_fields(BENCHMARK | {name: value})
    shown = tuple(value) if isinstance(value, list) else value
    named = "down_block_types" if value == [64, 128] else f"{name} = {shown!r}"
    assert named in str(caught.value)


def test_mixed_ways_to_change_the_size_are_refused():
    with pytest.raises(ConfigError, match="all must change the size alike"):
        unet.network_fields(BENCHMARK | {"downsample_type": "resnet"})


def test_scale_and_shift_needs_groups_for_the_middle_attention_which_has_no_norm_otherwise():
    scaled = BENCHMARK | {"resnet_time_scale_shift": "scale_shift"}
    with pytest.raises(ConfigError, match="attn_norm_num_groups = None"):
        unet.network_fields(scaled)
    for change in ({"attn_norm_num_groups": 32}, {"add_attention": False}):
        assert unet.network_fields(scaled | change)["modulation"] == "scale_shift"


@pytest.mark.parametrize("config", [None, [BENCHMARK], {0: 1}], ids=["none", "list", "number"])
def test_what_is_no_configuration_is_refused(config, unchecked):
    with pytest.raises(ConfigError, match="config = .* must be a mapping"):
        unet.network_fields(config)
