"""Stable Diffusion in settings, at full size and tiny, and folders of them with random weights that both sides read."""

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.lazily import jax, jnp, networks, part_readers, rules, safetensors

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = string.ascii_lowercase + string.digits + "!.,:()-'"
SPREAD = 0.1
"""Of random biases, and of the scales of norms around 1; other weights have the variance 1 over the number of
inputs.
"""


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
    def latent(self) -> tuple[int, int, int]:
        """(h, w, c) of the latents of one picture."""
        side = self.size // 2 ** (len(self.parts["vae"]["block_out_channels"]) - 1)
        return side, side, 4

    @property
    def text(self) -> tuple[int, int]:
        """(tokens, channels) of a text."""
        return self.parts[self.towers[0]]["max_position_embeddings"], self.parts["unet"]["cross_attention_dim"]


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


def autoencoder(size: int, channels: list[int], scale: float, **more: Any) -> dict[str, Any]:
    """The autoencoder of latents of four channels."""
    settings: dict[str, Any] = {"_class_name": "AutoencoderKL", "sample_size": size, "latent_channels": 4}
    settings |= {"scaling_factor": scale, "block_out_channels": channels, "layers_per_block": 2}
    settings["down_block_types"] = ["DownEncoderBlock2D"] * len(channels)
    return settings | {"up_block_types": ["UpDecoderBlock2D"] * len(channels)} | more


def scheduler(name: str, **more: Any) -> dict[str, Any]:
    """A scheduler with the noise path of Stable Diffusion."""
    path: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    path |= {"num_train_timesteps": 1000, "steps_offset": 1}
    return {"_class_name": name, **path, **more}


SD, XL = "StableDiffusionPipeline", "StableDiffusionXLPipeline"
PNDM = scheduler("PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False)
EULER = scheduler("EulerDiscreteScheduler", timestep_spacing="leading")
FIRST = tower("CLIPTextModel", 768, 12, 12, "quick_gelu")
TINY = tower("CLIPTextModel", 8, 2, 2, "quick_gelu", vocabulary=100, positions=16)
SECOND = tower("CLIPTextModelWithProjection", 1280, 32, 20, "gelu")
PARTS_15 = {
    "text_encoder": FIRST,
    "unet": unet(64, [320, 640, 1280, 1280], (True, True, True, False), cross_attention_dim=768, attention_head_dim=8),
    "vae": autoencoder(512, [128, 256, 512, 512], 0.18215),
}
SIZES = {"use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
WIDTHS: dict[str, Any] = {"cross_attention_dim": 2048, "projection_class_embeddings_input_dim": 2816}
DEPTHS: dict[str, Any] = {"attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10]}
PARTS_XL = {
    "text_encoder": FIRST,
    "text_encoder_2": SECOND,
    "unet": unet(128, [320, 640, 1280], (False, True, True), **WIDTHS, **DEPTHS, **SIZES),
    "vae": autoencoder(1024, [128, 256, 512, 512], 0.13025, force_upcast=True),
}
FEW: dict[str, Any] = {"layers_per_block": 1, "norm_num_groups": 2}
TINY_15 = {
    "text_encoder": TINY,
    "unet": unet(8, [4, 8], (True, False), attention_head_dim=2, cross_attention_dim=8, **FEW),
    "vae": autoencoder(16, [4, 4], 0.5, **FEW),
}
TINY_XL = TINY_15 | {
    "text_encoder_2": TINY | {"architectures": SECOND["architectures"], "hidden_act": "gelu"},
    "unet": TINY_15["unet"] | SIZES | {"cross_attention_dim": 16, "projection_class_embeddings_input_dim": 6 * 256 + 8},
}
ZEROS = {"force_zeros_for_empty_prompt": True}
FOLDERS: Mapping[str, FolderSettings] = {
    "sd15": FolderSettings(SD, PARTS_15, PNDM, 512),
    "sdxl": FolderSettings(XL, PARTS_XL, EULER, 1024, ZEROS),
    "tiny_sd15": FolderSettings(SD, TINY_15, PNDM, 16),
    "tiny_sdxl": FolderSettings(XL, TINY_XL, EULER, 16, ZEROS),
}
"""Settings by name: as published for Stable Diffusion 1.5 and XL 1.0, and their tiny forms."""


def write(folder: Path, name: str, dtype: str = "float32") -> None:
    """A folder in the form of diffusers, its weights at random; one that is there stays."""
    if folder.exists():
        return
    write_texts(folder, name)
    for part, config in FOLDERS[name].parts.items():
        rng, arrays = np.random.default_rng(0), {}
        for array, shape in shapes(config).items():
            middle = 1.0 if len(shape) == 1 and "norm" in array and array.endswith("weight") else 0.0
            spread = SPREAD if len(shape) == 1 else float(np.prod(shape[1:])) ** -0.5
            arrays[array] = (middle + spread * rng.standard_normal(shape, np.float32)).astype(jnp.dtype(dtype))
        safetensors.save_file(
            arrays, folder / part / f"{part_readers.READERS[kind(config)].stem}.safetensors", {"format": "pt"}
        )


def kind(config: Mapping[str, Any]) -> str:
    """The class of a part."""
    return config.get("_class_name") or config["architectures"][0]


def build(config: dict[str, Any], **fields: Any) -> tuple[Any, tuple[Any, ...]]:
    """The network of a part, and inputs of it, of which shapes alone matter. fields: more of the network's."""
    reader = part_readers.READERS[kind(config)]
    pooled = (
        {"pooled_channels": config["projection_class_embeddings_input_dim"] - 6 * 256}
        if "addition_embed_type" in config
        else {}
    )
    network = reader.network(config, pooled, fields)
    return network, reader.example(network, config.get("in_channels", 0) // reader.packed)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of a part, by the names of its file."""
    reader, (network, example) = part_readers.READERS[kind(config)], build(config)
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *example))
    hollow = jax.tree.map(lambda leaf: np.broadcast_to(np.int8(0), leaf.shape), like)
    return {name: array.shape for name, array in rules.to_theirs(hollow, reader.rules(config)).items()}


def vocabulary(size: int) -> dict[str, int]:
    """Pieces of a tokenizer: letters alone and at the end of a word, pieces that no text has, and the two that begin
    and end a text.
    """
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    filling = [f"<{number}>" for number in range(size - len(pieces) - 2)]
    return {piece: number for number, piece in enumerate((*pieces, *filling, START, END))}


def write_texts(folder: Path, name: str) -> None:
    """What is no weight: model_index.json, configurations, tokenizers and the scheduler."""
    settings = FOLDERS[name]
    libraries = {
        part: ["transformers" if part in settings.towers else "diffusers", kind(config)]
        for part, config in settings.parts.items()
    }
    texts: dict[str, Any] = {f"{part}/config.json": config for part, config in settings.parts.items()}
    texts["scheduler/scheduler_config.json"] = settings.scheduler
    libraries["scheduler"] = ["diffusers", settings.scheduler["_class_name"]]
    words = {
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "tokenizer_class": "CLIPTokenizer",
    }
    for part in settings.towers:
        tokenizer, config = part.replace("text_encoder", "tokenizer"), settings.parts[part]
        libraries[tokenizer] = ["transformers", "CLIPTokenizer"]
        texts[f"{tokenizer}/vocab.json"] = vocabulary(config["vocab_size"])
        texts[f"{tokenizer}/tokenizer_config.json"] = words | {"model_max_length": config["max_position_embeddings"]}
        texts[f"{tokenizer}/merges.txt"] = "#version: 0.2\n"
    texts["model_index.json"] = {
        "_class_name": settings.pipeline,
        "_diffusers_version": "0.42.1",
        **libraries,
        **settings.entries,
    }
    for file, content in texts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
