"""What the authors of a transformer call its layers, and with them kohya, ai-toolkit and ComfyUI.

A row is a layer of theirs and the layers of diffusers that it holds, their outputs side by side: all but the last have
as many outputs as the network is wide. A word in braces stands for a whole number. Other layers have one name.
"""

from collections.abc import Collection, Mapping

Names = Mapping[str, str]
MODULATION = "adaLN_modulation"
"""In the names of layers that say shifts and scales, and no more."""

_IMAGE = "attn.to_q attn.to_k attn.to_v"
_TEXT = "attn.add_q_proj attn.add_k_proj attn.add_v_proj"
_ATTENTION = {
    "img_attn.qkv": _IMAGE,
    "txt_attn.qkv": _TEXT,
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
}
_NORMS = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}


def _within(theirs: str, ours: str, rows: Names) -> dict[str, str]:
    """Rows of a block, with its name before each."""
    return {
        f"{theirs}.{name}": " ".join(f"{ours}.{layer}" for layer in layers.split()) for name, layers in rows.items()
    }


FLUX: Names = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "final_layer.linear": "proj_out",
    **_within(
        "double_blocks.{block}",
        "transformer_blocks.{block}",
        {
            "img_mod.lin": "norm1.linear",
            "txt_mod.lin": "norm1_context.linear",
            **_ATTENTION,
            "img_mlp.0": "ff.net.0.proj",
            "img_mlp.2": "ff.net.2",
            "txt_mlp.0": "ff_context.net.0.proj",
            "txt_mlp.2": "ff_context.net.2",
            # of XLabs
            "qkv_lora1": _IMAGE,
            "qkv_lora2": _TEXT,
            "proj_lora1": "attn.to_out.0",
            "proj_lora2": "attn.to_add_out",
        },
    ),
    **_within(
        "single_blocks.{block}",
        "single_transformer_blocks.{block}",
        {
            "modulation.lin": "norm.linear",
            "linear1": f"{_IMAGE} proj_mlp",
            "linear2": "proj_out",
            **_NORMS,
            # of XLabs
            "qkv": _IMAGE,
            "proj": "proj_out",
        },
    ),
}
FLUX_2: Names = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
    "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
    "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
    "single_stream_modulation.lin": "single_stream_modulation.linear",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "final_layer.linear": "proj_out",
    **_within(
        "double_blocks.{block}",
        "transformer_blocks.{block}",
        {
            **_ATTENTION,
            "img_mlp.0": "ff.linear_in",
            "img_mlp.2": "ff.linear_out",
            "txt_mlp.0": "ff_context.linear_in",
            "txt_mlp.2": "ff_context.linear_out",
        },
    ),
    **_within(
        "single_blocks.{block}",
        "single_transformer_blocks.{block}",
        {"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out", **_NORMS},
    ),
}
SD3: Names = {
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "context_embedder": "context_embedder",
    "final_layer.linear": "proj_out",
    **_within(
        "joint_blocks.{block}",
        "transformer_blocks.{block}",
        {
            "x_block.adaLN_modulation.1": "norm1.linear",
            "context_block.adaLN_modulation.1": "norm1_context.linear",
            "x_block.attn.qkv": _IMAGE,
            "x_block.attn.ln_q": "attn.norm_q",
            "x_block.attn.ln_k": "attn.norm_k",
            "context_block.attn.qkv": _TEXT,
            "context_block.attn.ln_q": "attn.norm_added_q",
            "context_block.attn.ln_k": "attn.norm_added_k",
            "x_block.attn.proj": "attn.to_out.0",
            "context_block.attn.proj": "attn.to_add_out",
            "x_block.attn2.qkv": "attn2.to_q attn2.to_k attn2.to_v",
            "x_block.attn2.ln_q": "attn2.norm_q",
            "x_block.attn2.ln_k": "attn2.norm_k",
            "x_block.attn2.proj": "attn2.to_out.0",
            "x_block.mlp.fc1": "ff.net.0.proj",
            "x_block.mlp.fc2": "ff.net.2",
            "context_block.mlp.fc1": "ff_context.net.0.proj",
            "context_block.mlp.fc2": "ff_context.net.2",
        },
    ),
}
_LUMINA = {
    "attention.qkv": "attention.to_q attention.to_k attention.to_v",
    "attention.q_norm": "attention.norm_q",
    "attention.k_norm": "attention.norm_k",
    "attention.out": "attention.to_out.0",
}
Z_IMAGE: Names = {
    "x_embedder": "all_x_embedder.2-1",
    "final_layer.adaLN_modulation.1": "all_final_layer.2-1.adaLN_modulation.1",
    "final_layer.linear": "all_final_layer.2-1.linear",
    **{
        theirs: layers
        for blocks in ("noise_refiner.{block}", "context_refiner.{block}", "layers.{block}")
        for theirs, layers in _within(blocks, blocks, _LUMINA).items()
    },
}
BY_CLASS: Mapping[str, Names] = {
    "FluxTransformer2DModel": FLUX,
    "Flux2Transformer2DModel": FLUX_2,
    "SD3Transformer2DModel": SD3,
    "ZImageTransformer2DModel": Z_IMAGE,
}
"""By the class of diffusers. A new class is one line here."""


def rows(names: Names, layers: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the rows of a table that a model has, with its numbers in place of words in braces.

    Args:
        names: the table.
        layers: those of the model, by their names in diffusers.
    """
    numbers = sorted({word for layer in layers for word in layer.split(".") if word.isdecimal()}, key=int)
    result = {}
    for name, layers_there in names.items():
        for number in numbers if "{" in name else ("",):
            parts = tuple(layers_there.format(block=number).split())
            if all(part in layers for part in parts):
                result[name.format(block=number)] = parts
    return result
