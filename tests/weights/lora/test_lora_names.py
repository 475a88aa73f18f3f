"""Names in LoRA files of kohya, for Stable Diffusion 1 by those of diffusers and for XL by those of a single file."""

from gendiff.weights import latent_diffusion, lora_names
from gendiff.weights.lora.lora_names import ALPHA, DOWN, TEXT, UNET, UP
from tests.tables import table
from tests.weights.diffusers.published_unets import CONFIGS, STABLE_DIFFUSION_1, XL

FIRST = {
    "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks_1_attentions_1_transformer_blocks_0_ff_net_0_proj": "down_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj",
    "mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0": "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "up_blocks_3_attentions_2_proj_out": "up_blocks.3.attentions.2.proj_out",
    "up_blocks_0_upsamplers_0_conv": "up_blocks.0.upsamplers.0.conv",
    "down_blocks_1_resnets_0_conv_shortcut": "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks_0_resnets_0_time_emb_proj": "down_blocks.0.resnets.0.time_emb_proj",
    "time_embedding_linear_1": "time_embedding.linear_1",
    "conv_in": "conv_in",
}
WIDE = {
    "input_blocks_4_1_transformer_blocks_0_attn1_to_q": "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "input_blocks_8_1_transformer_blocks_9_ff_net_2": "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.2",
    "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    "input_blocks_1_0_emb_layers_1": "down_blocks.0.resnets.0.time_emb_proj",
    "input_blocks_4_0_skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
    "middle_block_0_out_layers_3": "mid_block.resnets.0.conv2",
    "middle_block_1_proj_in": "mid_block.attentions.0.proj_in",
    "output_blocks_0_1_transformer_blocks_3_attn2_to_v": "up_blocks.0.attentions.0.transformer_blocks.3.attn2.to_v",
    "output_blocks_2_2_conv": "up_blocks.0.upsamplers.0.conv",
    "label_emb_0_2": "add_embedding.linear_2",
    "time_embed_0": "time_embedding.linear_1",
    "input_blocks_0_0": "conv_in",
    "out_2": "conv_out",
}


def tables(config, layers):
    return {UNET: lora_names.names_of_layers(layers, latent_diffusion.unet_names(config))}


@table("config, known", [(STABLE_DIFFUSION_1, FIRST), (XL, WIDE), (XL, FIRST)])
def test_kohya_names_are_those_of_the_layers_with_lines_for_points(config, known):
    table = tables(config, known.values())
    for name, layer in known.items():
        for ending, role in ((".lora_down.weight", DOWN), (".lora_up.weight", UP), (".alpha", ALPHA)):
            assert lora_names.read(f"lora_unet_{name}{ending}", table) == (UNET, layer, role)


@table("config", CONFIGS.values())
def test_no_two_layers_of_a_published_model_have_one_name(config):
    parts = latent_diffusion.unet_names(config)
    heads = [here for here in parts.values() if ".attentions." not in here]
    inner = (
        "proj_in",
        *(f"transformer_blocks.{number}.attn1.to_q" for number in range(12)),
        "transformer_blocks.1.attn2.to_out.0",
    )
    layers = heads + [f"{here}.{part}" for here in parts.values() if ".attentions." in here for part in inner]
    table = lora_names.names_of_layers(layers, parts)
    assert set(table.values()) == set(layers) and all(table[layer.replace(".", "_")] == layer for layer in layers)
    assert len(table) >= 3 * len(layers), "as it is, with lines for points, and by the single file"


def test_text_towers_have_names_of_their_own_and_what_is_of_no_layer_has_none():
    layer = "text_model.encoder.layers.0.self_attn.k_proj"
    table = {TEXT: lora_names.names_of_layers([layer], {}), UNET: lora_names.names_of_layers(["conv_in"], {})}
    flat = layer.replace(".", "_")
    for name in (f"lora_te_{flat}", f"lora_te1_{flat}"):
        assert lora_names.read(f"{name}.lora_down.weight", table) == (TEXT, layer, DOWN)
    assert lora_names.read(f"text_encoder.{layer}.lora_linear_layer.up.weight", table) == (TEXT, layer, UP)
    for name in (
        f"lora_te2_{flat}.lora_down.weight",
        f"unet.{layer}.lora_A.weight",
        "conv_in.weight",
        f"lora_te_{flat}.lora_mid.weight",
    ):
        assert lora_names.read(name, table) is None
    assert lora_names.remark(f"lora_te2_{flat}.lora_down.weight", table) == " (text_encoder_2 was not given)"
    assert (
        lora_names.remark(f"lora_te_{flat}.lora_mid.weight", table)
        == " (a Tucker decomposition, which is not supported)"
    )
    assert lora_names.remark("unet.conv_9.lora_A.weight", table) == ""
