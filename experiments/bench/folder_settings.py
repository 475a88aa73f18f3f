"""Models that draw from prompts in settings, as published and tiny."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROMPT_TOKENS = 512
"""Tokens of a row where a language model reads the prompt."""


@dataclass(frozen=True)
class FolderSettings:
    """One pipeline of diffusers.

    pipeline: its class. parts: settings of each part with weights. scheduler: its scheduler_config.json. size: of a
        picture in pixels.
    entries: further ones of model_index.json.
    """

    pipeline: str
    parts: Mapping[str, dict[str, Any]]
    scheduler: dict[str, Any]
    size: int
    entries: dict[str, Any] = field(default_factory=dict)

    @property
    def towers(self) -> tuple[str, ...]:
        """The text encoders by their names."""
        return tuple(name for name in self.parts if name.startswith("text_encoder"))

    @property
    def network(self) -> str:
        """The name of the part that denoises."""
        return "unet" if "unet" in self.parts else "transformer"

    def latent(self, size: int) -> tuple[int, int, int]:
        """(h, w, c) of the latents of one picture of so many pixels a side."""
        vae = self.parts["vae"]
        side = size // 2 ** (len(vae["block_out_channels"]) - 1)
        return side, side, vae["latent_channels"]

    @property
    def text(self) -> tuple[int, int]:
        """(tokens, channels) of a text."""
        config = self.parts[self.network]
        names = "cross_attention_dim", "joint_attention_dim", "cap_feat_dim"
        channels = next(config[name] for name in names if name in config)
        tower = self.parts[self.towers[0]]
        return PROMPT_TOKENS if is_qwen(tower) else tower["max_position_embeddings"], channels


def tower(
    kind: str, width: int, depth: int, heads: int, activation: str, vocabulary: int = 49408, positions: int = 77
) -> dict[str, Any]:
    """A text tower of CLIP; its last two ids begin and end a text."""
    settings: dict[str, Any] = {"architectures": [kind], "model_type": "clip_text_model", "hidden_size": width}
    settings |= {"projection_dim": width, "intermediate_size": 4 * width, "num_hidden_layers": depth}
    settings |= {"num_attention_heads": heads, "hidden_act": activation, "max_position_embeddings": positions}
    settings |= {"vocab_size": vocabulary, "bos_token_id": vocabulary - 2}
    return settings | {"eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}


def unet(size: int, channels: list[int], attends: tuple[bool, ...], **more: Any) -> dict[str, Any]:
    """A U-Net that reads texts. attends: whether each level does, from the largest maps down."""
    settings: dict[str, Any] = {"_class_name": "UNet2DConditionModel", "sample_size": size, "in_channels": 4}
    settings |= {"out_channels": 4, "block_out_channels": channels}
    settings["down_block_types"] = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attends]
    settings["up_block_types"] = ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attends)]
    return settings | more


def autoencoder(size: int, channels: list[int], **more: Any) -> dict[str, Any]:
    """An autoencoder, of latents of four channels unless `more` says otherwise."""
    settings: dict[str, Any] = {"_class_name": "AutoencoderKL", "sample_size": size, "latent_channels": 4}
    settings |= {"block_out_channels": channels, "layers_per_block": 2}
    settings["down_block_types"] = ["DownEncoderBlock2D"] * len(channels)
    return settings | {"up_block_types": ["UpDecoderBlock2D"] * len(channels)} | more


def scheduler(name: str, **more: Any) -> dict[str, Any]:
    """A scheduler with the noise path of Stable Diffusion."""
    path: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    path |= {"num_train_timesteps": 1000, "steps_offset": 1}
    return {"_class_name": name, **path, **more}


WIDE = [128, 256, 512, 512]
SD, XL = "StableDiffusionPipeline", "StableDiffusionXLPipeline"
PNDM = scheduler("PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False)
EULER = scheduler("EulerDiscreteScheduler", timestep_spacing="leading")
FIRST = tower("CLIPTextModel", 768, 12, 12, "quick_gelu")
TINY = tower("CLIPTextModel", 8, 2, 2, "quick_gelu", vocabulary=100, positions=16)
SECOND = tower("CLIPTextModelWithProjection", 1280, 32, 20, "gelu")
PARTS_15 = {
    "text_encoder": FIRST,
    "unet": unet(64, [320, 640, 1280, 1280], (True, True, True, False), cross_attention_dim=768, attention_head_dim=8),
    "vae": autoencoder(512, WIDE, scaling_factor=0.18215),
}
SIZES = {"use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
WIDTHS: dict[str, Any] = {"cross_attention_dim": 2048, "projection_class_embeddings_input_dim": 2816}
DEPTHS: dict[str, Any] = {"attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10]}
PARTS_XL = {
    "text_encoder": FIRST,
    "text_encoder_2": SECOND,
    "unet": unet(128, [320, 640, 1280], (False, True, True), **WIDTHS, **DEPTHS, **SIZES),
    "vae": autoencoder(1024, WIDE, scaling_factor=0.13025, force_upcast=True),
}
FEW: dict[str, Any] = {"layers_per_block": 1, "norm_num_groups": 2}
TINY_15 = {
    "text_encoder": TINY,
    "unet": unet(8, [4, 8], (True, False), attention_head_dim=2, cross_attention_dim=8, **FEW),
    "vae": autoencoder(16, [4, 4], scaling_factor=0.5, **FEW),
}
TINY_XL = TINY_15 | {
    "text_encoder_2": TINY | {"architectures": SECOND["architectures"], "hidden_act": "gelu"},
    "unet": TINY_15["unet"] | SIZES | {"cross_attention_dim": 16, "projection_class_embeddings_input_dim": 6 * 256 + 8},
}
ZEROS = {"force_zeros_for_empty_prompt": True}
QWEN: dict[str, Any] = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151936}
QWEN |= {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
QWEN |= {"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960, "rope_theta": 1_000_000}
QWEN |= {"rms_norm_eps": 1e-6, "tie_word_embeddings": True}
NO_QUANT = {"use_quant_conv": False, "use_post_quant_conv": False}
FLOW: dict[str, Any] = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
DYNAMIC = FLOW | {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}
KLEIN: dict[str, Any] = {"_class_name": "Flux2Transformer2DModel", "in_channels": 128, "guidance_embeds": False}
KLEIN |= {"num_layers": 5, "num_single_layers": 20, "attention_head_dim": 128, "num_attention_heads": 24}
KLEIN |= {"joint_attention_dim": 7680, "mlp_ratio": 3.0, "axes_dims_rope": [32, 32, 32, 32], "rope_theta": 2000}
Z_IMAGE: dict[str, Any] = {"_class_name": "ZImageTransformer2DModel", "in_channels": 16, "dim": 3840, "n_layers": 30}
Z_IMAGE |= {"n_refiner_layers": 2, "n_heads": 30, "n_kv_heads": 30, "cap_feat_dim": 2560}
Z_IMAGE |= {"axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "rope_theta": 256.0, "t_scale": 1000.0}
PARTS_KLEIN = {
    "text_encoder": QWEN,
    "transformer": KLEIN,
    "vae": autoencoder(1024, WIDE, latent_channels=32, _class_name="AutoencoderKLFlux2"),
}
PARTS_Z_IMAGE = {
    "text_encoder": QWEN,
    "transformer": Z_IMAGE,
    "vae": autoencoder(
        1024, WIDE, scaling_factor=0.3611, latent_channels=16, shift_factor=0.1159, force_upcast=True, **NO_QUANT
    ),
}
TINY_QWEN: dict[str, Any] = {"vocab_size": 300, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 28}
TINY_QWEN |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": 512}
HEADS = {"attention_head_dim": 8, "num_attention_heads": 2, "axes_dims_rope": [2, 2, 2, 2], "num_single_layers": 1}
TINY_KLEIN = {
    "text_encoder": QWEN | TINY_QWEN,
    "transformer": KLEIN | HEADS | {"in_channels": 16, "joint_attention_dim": 24, "num_layers": 1},
    "vae": autoencoder(16, [4, 4], _class_name="AutoencoderKLFlux2", **FEW),
}
TINY_Z_IMAGE = {
    "text_encoder": QWEN | TINY_QWEN,
    "transformer": Z_IMAGE
    | {"in_channels": 4, "dim": 24, "n_layers": 1, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}
    | {"cap_feat_dim": 8, "axes_dims": [4, 2, 6]},
    "vae": autoencoder(16, [4, 4], scaling_factor=0.5, shift_factor=0.1, **NO_QUANT, **FEW),
}
FOLDERS: Mapping[str, FolderSettings] = {
    "sd15": FolderSettings(SD, PARTS_15, PNDM, 512),
    "sdxl": FolderSettings(XL, PARTS_XL, EULER, 1024, ZEROS),
    "tiny_sd15": FolderSettings(SD, TINY_15, PNDM, 16),
    "tiny_sdxl": FolderSettings(XL, TINY_XL, EULER, 16, ZEROS),
    "klein": FolderSettings("Flux2KleinPipeline", PARTS_KLEIN, DYNAMIC, 1024, {"is_distilled": True}),
    "z_image": FolderSettings("ZImagePipeline", PARTS_Z_IMAGE, FLOW, 1024),
    "tiny_klein": FolderSettings("Flux2KleinPipeline", TINY_KLEIN, DYNAMIC, 16, {"is_distilled": True}),
    "tiny_z_image": FolderSettings("ZImagePipeline", TINY_Z_IMAGE, FLOW, 16),
}
"""Settings by name: as published for Stable Diffusion 1.5 and XL 1.0, FLUX.2 [klein] 4B and Z-Image-Turbo, and their
tiny forms.
"""


def kind(config: Mapping[str, Any]) -> str:
    """The class of a part."""
    return config.get("_class_name") or config["architectures"][0]


def is_qwen(config: Mapping[str, Any]) -> bool:
    """Whether a text encoder is a language model."""
    return config.get("model_type") == "qwen3"
