"""What the authors of a transformer call its layers, and with them kohya, ai-toolkit and ComfyUI.

A row is a layer of theirs and the layers of diffusers that it holds, their outputs side by side. A word in braces
stands for a whole number.
"""

from collections.abc import Collection, Mapping

Names = Mapping[str, str]
MODULATION = "adaLN_modulation"
"""In the names of layers that say shifts and scales, and no more."""

_IMAGE = "attn.to_q attn.to_k attn.to_v"
_TEXT = "attn.add_q_proj attn.add_k_proj attn.add_v_proj"


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
            "img_attn.qkv": _IMAGE,
            "txt_attn.qkv": _TEXT,
            "img_attn.proj": "attn.to_out.0",
            "txt_attn.proj": "attn.to_add_out",
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
            # of XLabs
            "qkv": _IMAGE,
            "proj": "proj_out",
        },
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
            "context_block.attn.qkv": _TEXT,
            "x_block.attn.proj": "attn.to_out.0",
            "context_block.attn.proj": "attn.to_add_out",
            "x_block.attn2.qkv": "attn2.to_q attn2.to_k attn2.to_v",
            "x_block.attn2.proj": "attn2.to_out.0",
            "x_block.mlp.fc1": "ff.net.0.proj",
            "x_block.mlp.fc2": "ff.net.2",
            "context_block.mlp.fc1": "ff_context.net.0.proj",
            "context_block.mlp.fc2": "ff_context.net.2",
        },
    ),
}
BY_CLASS: Mapping[str, Names] = {"FluxTransformer2DModel": FLUX, "SD3Transformer2DModel": SD3}
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
