"""Arrays of a CLIPTextModel under the names of OpenCLIP, the other way round than `weights.single_file` goes."""

import numpy as np

NAMES = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
OF_BLOCK = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
OF_BLOCK["self_attn.out_proj"] = "attn.out_proj"


def open_clip(arrays):
    """The arrays under their other names; queries, keys and values become one array."""
    result, parts = {}, {}
    for name, array in arrays.items():
        if name == "text_projection.weight":
            result["text_projection"] = np.ascontiguousarray(array.T)
            continue
        name = name.removeprefix("text_model.")
        if name in NAMES:
            result[NAMES[name]] = array
            continue
        _, _, number, rest = name.split(".", 3)
        block, (head, kind) = f"transformer.resblocks.{number}", rest.rsplit(".", 1)
        if head in OF_BLOCK:
            result[f"{block}.{OF_BLOCK[head]}.{kind}"] = array
        else:
            parts.setdefault(f"{block}.attn.in_proj_{kind}", {})[head.split(".")[1][0]] = array
    return result | {name: np.concatenate([letters[letter] for letter in "qkv"]) for name, letters in parts.items()}
