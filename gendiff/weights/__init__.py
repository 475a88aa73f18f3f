"""Other people's parameters: rules from their names to ours and back, safetensors only."""

from gendiff.weights import (
    diffusers_autoencoder,
    diffusers_blocks,
    diffusers_dit,
    diffusers_unet,
    files,
    gguf,
    gguf_llama,
    layouts,
    mini_lm,
    open_clip_text,
    rules,
    settings,
    smollm2,
    torchvision_inception,
    transformers_bert,
    transformers_clip,
)

__all__ = [
    "diffusers_autoencoder",
    "diffusers_blocks",
    "diffusers_dit",
    "diffusers_unet",
    "files",
    "gguf",
    "gguf_llama",
    "layouts",
    "mini_lm",
    "open_clip_text",
    "rules",
    "settings",
    "smollm2",
    "torchvision_inception",
    "transformers_bert",
    "transformers_clip",
]
