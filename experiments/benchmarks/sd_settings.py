"""Stable Diffusion in settings, at full size and tiny: what either side writes as a folder. Imports neither JAX nor torch."""

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = string.ascii_lowercase + string.digits + "!.,:()-'"
PROMPT, NEGATIVE = "a photo of an astronaut riding a horse", "blurry, low quality"
SPREAD = 0.1
"""Of random biases, and of the scales of norms around 1; other weights have the variance 1 over the number of inputs."""


@dataclass(frozen=True)
class FolderSettings:
    """One pipeline of diffusers.

    pipeline: its class. parts: settings of each part with weights. scheduler: its scheduler_config.json. size: of a picture in pixels.
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
    def factor(self) -> int:
        """How many times smaller latents are than pictures."""
        return 2 ** (len(self.parts["vae"]["block_out_channels"]) - 1)

    @property
    def latent(self) -> tuple[int, int, int]:
        """(h, w, c) of the latents of one picture."""
        return self.size // self.factor, self.size // self.factor, 4

    @property
    def text(self) -> tuple[int, int]:
        """(tokens, channels) of a text."""
        return self.parts[self.towers[0]]["max_position_embeddings"], self.parts["unet"]["cross_attention_dim"]


def tower(kind: str, width: int, depth: int, heads: int, activation: str, **more: Any) -> dict[str, Any]:
    """A text tower of CLIP; its last two ids begin and end a text."""
    settings = {"vocab_size": 49408, "max_position_embeddings": 77, "projection_dim": width} | more
    last = settings["vocab_size"]
    return {
        "architectures": [kind],
        "model_type": "clip_text_model",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "hidden_act": activation,
        "bos_token_id": last - 2,
        "eos_token_id": last - 1,
        "pad_token_id": last - 1,
        **settings,
    }


def unet(size: int, channels: tuple[int, ...], attends: tuple[bool, ...], **more: Any) -> dict[str, Any]:
    """A U-Net that reads texts. attends: whether each level does, from the largest maps down."""
    down = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attends]
    up = ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attends)]
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": size,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": list(channels),
        "down_block_types": down,
        "up_block_types": up,
        **more,
    }


def autoencoder(size: int, channels: tuple[int, ...], scale: float, **more: Any) -> dict[str, Any]:
    """The autoencoder of latents of four channels."""
    return {
        "_class_name": "AutoencoderKL",
        "sample_size": size,
        "latent_channels": 4,
        "block_out_channels": list(channels),
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "layers_per_block": 2,
        "scaling_factor": scale,
        **more,
    }


def scheduler(name: str, **more: Any) -> dict[str, Any]:
    """A scheduler with the noise path of Stable Diffusion."""
    path = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "steps_offset": 1}
    return {"_class_name": name, **path, **more}


_PNDM = scheduler("PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False)
_EULER = scheduler("EulerDiscreteScheduler", timestep_spacing="leading")
_TOLD = {"use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
_TINY_TOWER = tower("CLIPTextModel", 8, 2, 2, "quick_gelu", vocab_size=100, max_position_embeddings=16)
_TINY_VAE = autoencoder(16, (4, 4), 0.5, layers_per_block=1, norm_num_groups=2)
_TINY_UNET = unet(8, (4, 8), (True, False), layers_per_block=1, norm_num_groups=2, attention_head_dim=2, cross_attention_dim=8)
FOLDERS: Mapping[str, FolderSettings] = {
    "sd15": FolderSettings(
        "StableDiffusionPipeline",
        {
            "text_encoder": tower("CLIPTextModel", 768, 12, 12, "quick_gelu"),
            "unet": unet(64, (320, 640, 1280, 1280), (True, True, True, False), cross_attention_dim=768, attention_head_dim=8),
            "vae": autoencoder(512, (128, 256, 512, 512), 0.18215),
        },
        _PNDM,
        512,
    ),
    "sdxl": FolderSettings(
        "StableDiffusionXLPipeline",
        {
            "text_encoder": tower("CLIPTextModel", 768, 12, 12, "quick_gelu"),
            "text_encoder_2": tower("CLIPTextModelWithProjection", 1280, 32, 20, "gelu"),
            "unet": unet(
                128,
                (320, 640, 1280),
                (False, True, True),
                cross_attention_dim=2048,
                attention_head_dim=[5, 10, 20],
                transformer_layers_per_block=[1, 2, 10],
                projection_class_embeddings_input_dim=2816,
                **_TOLD,
            ),
            "vae": autoencoder(1024, (128, 256, 512, 512), 0.13025, force_upcast=True),
        },
        _EULER,
        1024,
        {"force_zeros_for_empty_prompt": True},
    ),
    "tiny_sd15": FolderSettings("StableDiffusionPipeline", {"text_encoder": _TINY_TOWER, "unet": _TINY_UNET, "vae": _TINY_VAE}, _PNDM, 16),
    "tiny_sdxl": FolderSettings(
        "StableDiffusionXLPipeline",
        {
            "text_encoder": _TINY_TOWER,
            "text_encoder_2": _TINY_TOWER | {"architectures": ["CLIPTextModelWithProjection"], "hidden_act": "gelu"},
            "unet": _TINY_UNET | _TOLD | {"cross_attention_dim": 16, "projection_class_embeddings_input_dim": 6 * 256 + 8},
            "vae": _TINY_VAE,
        },
        _EULER,
        16,
        {"force_zeros_for_empty_prompt": True},
    ),
}
"""Settings by name: as published for Stable Diffusion 1.5 and XL 1.0, and their tiny forms."""


def vocabulary(size: int) -> dict[str, int]:
    """Pieces of a tokenizer: letters alone and at the end of a word, pieces that no text has, and the two that begin and end a text."""
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    filling = [f"<{number}>" for number in range(size - len(pieces) - 2)]
    return {piece: number for number, piece in enumerate((*pieces, *filling, START, END))}


def tokenizer(settings: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer_config.json of a tower."""
    words = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    return {"tokenizer_class": "CLIPTokenizer", "model_max_length": settings["max_position_embeddings"], **words}


def write_texts(folder: Path, name: str) -> None:
    """Write what is no weight: model_index.json, configurations, tokenizers and the scheduler."""
    settings = FOLDERS[name]
    entries: dict[str, Any] = {
        part: ["diffusers", config["_class_name"]] for part, config in settings.parts.items() if "_class_name" in config
    }
    entries |= {part: ["transformers", settings.parts[part]["architectures"][0]] for part in settings.towers}
    entries |= {part.replace("text_encoder", "tokenizer"): ["transformers", "CLIPTokenizer"] for part in settings.towers}
    entries["scheduler"] = ["diffusers", settings.scheduler["_class_name"]]
    texts = {f"{part}/config.json": config for part, config in settings.parts.items()}
    texts["scheduler/scheduler_config.json"] = settings.scheduler
    for part in settings.towers:
        own, config = part.replace("text_encoder", "tokenizer"), settings.parts[part]
        texts |= {f"{own}/vocab.json": vocabulary(config["vocab_size"]), f"{own}/tokenizer_config.json": tokenizer(config)}
    texts["model_index.json"] = {"_class_name": settings.pipeline, "_diffusers_version": "0.42.1", **entries, **settings.entries}
    for place, content in texts.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(json.dumps(content), encoding="utf-8")
    for part in settings.towers:
        (folder / part.replace("text_encoder", "tokenizer") / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
