"""Other people's parameters, from safetensors, GGUF and files of torch, as ours and back. Nothing of theirs is run."""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use

if TYPE_CHECKING:
    from gendiff.weights import (
        efficientnet_lite0,
        files,
        layouts,
        quantised,
        rules,
        settings,
        streamed,
        torch_archive,
        torchvision_inception,
    )
    from gendiff.weights.diffusers import (
        diffusers_autoencoder,
        diffusers_blocks,
        diffusers_controlnet,
        diffusers_dit,
        diffusers_flux,
        diffusers_flux2,
        diffusers_flux2_autoencoder,
        diffusers_joint,
        diffusers_sd3,
        diffusers_text_unet,
        diffusers_unet,
        diffusers_z_image,
        latent_diffusion,
        original_names,
        original_transformers,
        single_file,
    )
    from gendiff.weights.lora import lora_files, lora_layers, lora_names, lora_settings, low_rank_factors
    from gendiff.weights.quantised import (
        calibration,
        gguf,
        gguf_blocks,
        gguf_llama,
        gptq,
        integer_products,
        packed_kernels,
        packed_reading,
        scale_search,
    )
    from gendiff.weights.transformers import (
        language_models,
        mini_lm,
        open_clip_text,
        smollm2,
        transformers_bert,
        transformers_clip,
        transformers_gemma,
        transformers_gpt2,
        transformers_llama,
        transformers_mistral,
        transformers_qwen,
        transformers_qwen_encoder,
        transformers_rotary,
        transformers_t5,
        transformers_windows,
    )

__all__ = [
    "calibration",
    "diffusers_autoencoder",
    "diffusers_blocks",
    "diffusers_controlnet",
    "diffusers_dit",
    "diffusers_flux",
    "diffusers_flux2",
    "diffusers_flux2_autoencoder",
    "diffusers_joint",
    "diffusers_sd3",
    "diffusers_text_unet",
    "diffusers_unet",
    "diffusers_z_image",
    "efficientnet_lite0",
    "files",
    "gguf",
    "gguf_blocks",
    "gguf_llama",
    "gptq",
    "integer_products",
    "language_models",
    "latent_diffusion",
    "layouts",
    "lora_files",
    "lora_layers",
    "lora_names",
    "lora_settings",
    "low_rank_factors",
    "mini_lm",
    "open_clip_text",
    "original_names",
    "original_transformers",
    "packed_kernels",
    "packed_reading",
    "quantised",
    "rules",
    "scale_search",
    "settings",
    "single_file",
    "smollm2",
    "streamed",
    "torch_archive",
    "torchvision_inception",
    "transformers_bert",
    "transformers_clip",
    "transformers_gemma",
    "transformers_gpt2",
    "transformers_llama",
    "transformers_mistral",
    "transformers_qwen",
    "transformers_qwen_encoder",
    "transformers_rotary",
    "transformers_t5",
    "transformers_windows",
]

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "": "efficientnet_lite0 files layouts quantised rules settings streamed torch_archive torchvision_inception",
        "diffusers": "diffusers_autoencoder diffusers_blocks diffusers_controlnet diffusers_dit diffusers_flux "
        "diffusers_flux2 diffusers_flux2_autoencoder diffusers_joint diffusers_sd3 diffusers_text_unet "
        "diffusers_unet diffusers_z_image latent_diffusion original_names original_transformers "
        "single_file",
        "lora": "lora_files lora_layers lora_names lora_settings low_rank_factors",
        "quantised": "calibration gguf gguf_blocks gguf_llama gptq integer_products packed_kernels packed_reading "
        "scale_search",
        "transformers": "language_models mini_lm open_clip_text smollm2 transformers_bert transformers_clip "
        "transformers_gemma transformers_gpt2 transformers_llama transformers_mistral transformers_qwen "
        "transformers_qwen_encoder transformers_rotary transformers_t5 transformers_windows",
    },
)
