"""The single-file layout of latent diffusion, without torch; tests/peers/test_text_unets.py compares the names with
those of diffusers.
"""

import numpy as np
import pytest

from gendiff.core.errors import CheckpointMismatchError
from gendiff.weights import diffusers_autoencoder, diffusers_text_unet, latent_diffusion
from tests.tables import table
from tests.weights import rig
from tests.weights.diffusers.published_unets import REFINER, STABLE_DIFFUSION_1, STABLE_DIFFUSION_2, XL
from tests.weights.diffusers.test_diffusers_autoencoder import SMALL, STABLE_DIFFUSION, random_pair, shapes
from tests.weights.diffusers.tiny_text_unets import NAMES, converted, written

UNET = {
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "input_blocks.1.0.in_layers.2": "down_blocks.0.resnets.0.conv1",
    "input_blocks.1.1": "down_blocks.0.attentions.0",
    "input_blocks.3.0.op": "down_blocks.0.downsamplers.0.conv",
    "input_blocks.4.0.skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks.8.1": "down_blocks.2.attentions.1",
    "input_blocks.11.0.emb_layers.1": "down_blocks.3.resnets.1.time_emb_proj",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2.out_layers.3": "mid_block.resnets.1.conv2",
    "output_blocks.0.0.in_layers.0": "up_blocks.0.resnets.0.norm1",
    "output_blocks.2.1.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.5.1": "up_blocks.1.attentions.2",
    "output_blocks.5.2.conv": "up_blocks.1.upsamplers.0.conv",
    "output_blocks.11.0.out_layers.0": "up_blocks.3.resnets.2.norm2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
WIDE = {
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.1.0.in_layers.0": "down_blocks.0.resnets.0.norm1",
    "input_blocks.4.1": "down_blocks.1.attentions.0",
    "output_blocks.2.2.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.3.1": "up_blocks.1.attentions.0",
    "output_blocks.8.0.skip_connection": "up_blocks.2.resnets.2.conv_shortcut",
}
AUTOENCODER = {
    "encoder.conv_in": "encoder.conv_in",
    "encoder.down.0.block.1.conv2": "encoder.down_blocks.0.resnets.1.conv2",
    "encoder.down.1.block.0.nin_shortcut": "encoder.down_blocks.1.resnets.0.conv_shortcut",
    "encoder.down.2.downsample.conv": "encoder.down_blocks.2.downsamplers.0.conv",
    "encoder.mid.block_2.norm1": "encoder.mid_block.resnets.1.norm1",
    "encoder.mid.attn_1.proj_out": "encoder.mid_block.attentions.0.to_out.0",
    "decoder.mid.attn_1.q": "decoder.mid_block.attentions.0.to_q",
    "decoder.up.3.block.2.conv1": "decoder.up_blocks.0.resnets.2.conv1",
    "decoder.up.1.upsample.conv": "decoder.up_blocks.2.upsamplers.0.conv",
    "decoder.norm_out": "decoder.conv_norm_out",
    "post_quant_conv": "post_quant_conv",
}


OTHERS = {"cond_stage_model.logit_scale": np.zeros(()), "alphas_cumprod": np.ones(1000), "model_ema.decay": np.ones(())}
"""What else such a file holds."""


@table(
    "names, known",
    [
        (latent_diffusion.unet_names(STABLE_DIFFUSION_1), UNET),
        (latent_diffusion.unet_names(STABLE_DIFFUSION_2), UNET),
        (latent_diffusion.unet_names(XL), WIDE),
        (latent_diffusion.unet_names(REFINER), {"output_blocks.2.1.conv": "up_blocks.0.upsamplers.0.conv"}),
        (latent_diffusion.autoencoder_names(STABLE_DIFFUSION), AUTOENCODER),
    ],
)
def test_names_of_a_single_file_have_one_name_in_diffusers(names, known):
    assert known.items() <= names.items()
    assert len(set(names.values())) == len(names)


@table("name", NAMES)
def test_a_unet_of_a_single_file_has_the_arrays_of_the_folder(name):
    config, arrays, _, _ = written(name)
    stored = OTHERS | rig.in_single_file(arrays, "model.diffusion_model.", latent_diffusion.unet_names(config))
    if name == NAMES[0]:
        assert "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight" in stored
    named = latent_diffusion.unet(stored, config)
    assert set(named) == set(arrays) and all(named[key] is arrays[key] for key in arrays)


def test_an_autoencoder_of_a_single_file_has_the_parameters_of_the_folder():
    ours, theirs = random_pair()
    stored = OTHERS | rig.in_single_file(theirs, "first_stage_model.", latent_diffusion.autoencoder_names(SMALL))
    pixels = ("attn_1.q.weight", "attn_1.k.weight", "attn_1.v.weight", "attn_1.proj_out.weight")
    stored = {key: array[:, :, None, None] if key.endswith(pixels) else array for key, array in stored.items()}
    assert stored["first_stage_model.decoder.mid.attn_1.q.weight"].ndim == 4
    named = latent_diffusion.autoencoder(stored, SMALL)
    assert rig.equal(diffusers_autoencoder.params(SMALL, named, shapes(SMALL)), ours)


def test_an_unknown_array_keeps_its_name_and_is_refused_by_it():
    config, arrays, _, _ = written(NAMES[0])
    stored = OTHERS | rig.in_single_file(arrays, "model.diffusion_model.", latent_diffusion.unet_names(config))
    named = latent_diffusion.unet(stored | {"model.diffusion_model.input_hint.0.weight": np.zeros(3)}, config)
    assert "input_hint.0.weight" in named and len(named) == len(arrays) + 1
    with pytest.raises(CheckpointMismatchError, match="1 left over: input_hint.0.weight"):
        diffusers_text_unet.params(config, named, converted(NAMES[0])[1])


@pytest.mark.fault("weights: names missing or left over")
@table("read", [latent_diffusion.unet, latent_diffusion.autoencoder])
def test_a_file_without_the_model_is_refused_with_what_it_holds(read):
    config = STABLE_DIFFUSION_1 if read is latent_diffusion.unet else SMALL
    with pytest.raises(
        CheckpointMismatchError, match="as in a single file of latent diffusion; there are 1: lora_unet.alpha"
    ):
        read({"lora_unet.alpha": np.ones(())}, config)
