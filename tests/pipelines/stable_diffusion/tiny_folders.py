"""Tiny folders as diffusers writes them: settings of every part, and random weights under the names that they have
there.
"""

import functools
import json
import pathlib
import string

import numpy as np
import pytest
import safetensors.numpy

from gendiff.pipelines.stable_diffusion import adapters, model_index, model_parts, part_readers
from gendiff.weights import (
    diffusers_autoencoder,
    diffusers_controlnet,
    diffusers_dit,
    diffusers_flux,
    diffusers_flux2,
    diffusers_flux2_autoencoder,
    diffusers_sd3,
    diffusers_text_unet,
    diffusers_z_image,
    files,
    rules,
    transformers_clip,
    transformers_qwen_encoder,
    transformers_t5,
)
from tests.networks import rig
from tests.pipelines.stable_diffusion import tiny_chat_tokenizer, tiny_t5_tokenizer

LENGTH = 9
"""Tokens of a row, so that 7 tokens of a prompt fill one."""
LETTERS = string.ascii_lowercase + string.digits + "!.,:()-'"
MERGES = (("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>"))
_SINGLE = ("!", *(letter for letter in LETTERS if letter != "!"))
PIECES = (*_SINGLE, *(f"{letter}</w>" for letter in LETTERS), *("".join(pair) for pair in MERGES))
START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = {piece: number for number, piece in enumerate((*PIECES, START, END))}
SIZE = len(VOCABULARY)

TOKENIZER = {
    "model_max_length": LENGTH,
    "tokenizer_class": "CLIPTokenizer",
    "bos_token": {"content": START},
    "eos_token": {"content": END},
    "unk_token": {"content": END},
    "pad_token": END,
    "do_lower_case": True,
    "add_prefix_space": False,
    "errors": "replace",
}
TEXT = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "vocab_size": SIZE,
    "hidden_size": 8,
    "intermediate_size": 32,
    "projection_dim": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": LENGTH,
    "bos_token_id": SIZE - 2,
    "eos_token_id": SIZE - 1,
    "pad_token_id": SIZE - 1,
}
PROJECTED = TEXT | {"architectures": ["CLIPTextModelWithProjection"], "projection_dim": 6, "hidden_act": "gelu"}
T5 = {
    "architectures": ["T5EncoderModel"],
    "model_type": "t5",
    "vocab_size": len(tiny_t5_tokenizer.VOCABULARY),
    "d_model": 12,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 1,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
}
QWEN = {
    "architectures": ["Qwen3Model"],
    "model_type": "qwen3",
    "vocab_size": len(tiny_chat_tokenizer.VOCABULARY),
    "hidden_size": 12,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
}
UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": 2,
    "cross_attention_dim": 8,
}
TOLD = {
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 6 * 256 + 6,
}
AUTOENCODER = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [4, 4],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "latent_channels": 4,
    "scaling_factor": 0.5,
    "sample_size": 16,
}
DIT = {
    "_class_name": "DiTTransformer2DModel",
    "num_attention_heads": 2,
    "attention_head_dim": 4,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 1,
    "sample_size": 8,
    "patch_size": 2,
    "num_embeds_ada_norm": 10,
}
FLUX = {
    "_class_name": "FluxTransformer2DModel",
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "pooled_projection_dim": 8,
    "guidance_embeds": True,
    "axes_dims_rope": [2, 2, 4],
}
SD3 = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "caption_projection_dim": 16,
    "joint_attention_dim": 20,
    "pooled_projection_dim": 12,
    "pos_embed_max_size": 8,
}
Z_IMAGE = {
    "_class_name": "ZImageTransformer2DModel",
    "in_channels": 4,
    "dim": 24,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": 12,
    "axes_dims": [4, 2, 6],
    "axes_lens": [128, 32, 32],
}
FLUX_2 = {
    "_class_name": "Flux2Transformer2DModel",
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "mlp_ratio": 2.5,
    "axes_dims_rope": [2, 2, 2, 2],
    "guidance_embeds": False,
}
FLUX_2_AUTOENCODER = {
    "_class_name": "AutoencoderKLFlux2",
    **{name: AUTOENCODER[name] for name in AUTOENCODER if name not in ("_class_name", "scaling_factor")},
}
SHIFTED = AUTOENCODER | {"shift_factor": 0.2, "use_quant_conv": False, "use_post_quant_conv": False}
CONTROL = {name: UNET[name] for name in diffusers_controlnet.SHARED if name in UNET} | {
    "_class_name": "ControlNetModel",
    "conditioning_embedding_out_channels": [2, 3],
}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
EULER = {name: SCHEDULER[name] for name in ("beta_start", "beta_end", "beta_schedule", "steps_offset")} | {
    "_class_name": "EulerDiscreteScheduler",
    "timestep_spacing": "leading",
}
FLOW = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "use_dynamic_shifting": True,
    "shift": 3.0,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 8,
    "max_image_seq_len": 32,
}

_CHAT = {"text_encoder": QWEN, "tokenizer": tiny_chat_tokenizer.SETTINGS}
_TOWER = {"text_encoder": TEXT, "tokenizer": TOKENIZER}
_SECOND = {"text_encoder_2": PROJECTED, "tokenizer_2": TOKENIZER | {"pad_token": "!"}}
FOLDERS = {
    "stable": ("StableDiffusionPipeline", {}, _TOWER | {"unet": UNET, "vae": AUTOENCODER, "scheduler": SCHEDULER}),
    "inpaint": (
        "StableDiffusionInpaintPipeline",
        {},
        _TOWER | {"unet": UNET | {"in_channels": 9}, "vae": AUTOENCODER, "scheduler": SCHEDULER},
    ),
    "xl": (
        "StableDiffusionXLPipeline",
        {"force_zeros_for_empty_prompt": True, "add_watermarker": None},
        _TOWER | _SECOND | {"unet": UNET | TOLD | {"cross_attention_dim": 16}, "vae": AUTOENCODER, "scheduler": EULER},
    ),
    "refiner": (
        "StableDiffusionXLImg2ImgPipeline",
        {
            "force_zeros_for_empty_prompt": True,
            "requires_aesthetics_score": True,
            "text_encoder": [None, None],
            "tokenizer": [None, None],
        },
        _SECOND
        | {
            "unet": UNET | TOLD | {"projection_class_embeddings_input_dim": 5 * 256 + 6},
            "vae": AUTOENCODER,
            "scheduler": EULER,
        },
    ),
    "dit": (
        "DiTPipeline",
        {"id2label": {str(number): f"kind {number}, other name of {number}" for number in range(10)}},
        {
            "transformer": DIT,
            "vae": AUTOENCODER,
            "scheduler": SCHEDULER | {"beta_schedule": "linear", "steps_offset": 0},
        },
    ),
    "flux": (
        "FluxPipeline",
        {},
        _TOWER
        | {"text_encoder_2": T5, "tokenizer_2": tiny_t5_tokenizer.SETTINGS}
        | {"transformer": FLUX, "vae": SHIFTED, "scheduler": FLOW},
    ),
    "sd3": (
        "StableDiffusion3Pipeline",
        {},
        {"text_encoder": PROJECTED, "tokenizer": TOKENIZER}
        | _SECOND
        | {"text_encoder_3": T5 | {"d_model": 20}, "tokenizer_3": tiny_t5_tokenizer.SETTINGS}
        | {"transformer": SD3, "vae": SHIFTED, "scheduler": {"_class_name": FLOW["_class_name"], "shift": 3.0}},
    ),
    "flux_2": (
        "Flux2KleinPipeline",
        {"is_distilled": True},
        {
            "text_encoder": QWEN | {"num_hidden_layers": 28, "hidden_size": 8, "architectures": ["Qwen3ForCausalLM"]},
            "tokenizer": tiny_chat_tokenizer.SETTINGS | {"model_max_length": 48},
            **{"transformer": FLUX_2, "vae": FLUX_2_AUTOENCODER, "scheduler": FLOW},
        },
    ),
    "z_image": (
        "ZImagePipeline",
        {},
        _CHAT
        | {"transformer": Z_IMAGE, "vae": SHIFTED, "scheduler": {"_class_name": FLOW["_class_name"], "shift": 3.0}},
    ),
}
"""Name -> (class of the pipeline, further entries of its model_index.json, settings of its parts)."""
CHOSEN = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("inpaint", "refiner", "sd3", "z_image", "flux_2") else name
    for name in FOLDERS
]
"""For tests that look at every array: tracing a network takes a second."""
RULES = {
    "UNet2DConditionModel": diffusers_text_unet.rules,
    "AutoencoderKL": diffusers_autoencoder.rules,
    "DiTTransformer2DModel": diffusers_dit.rules,
    "FluxTransformer2DModel": diffusers_flux.rules,
    "SD3Transformer2DModel": diffusers_sd3.rules,
    "ZImageTransformer2DModel": diffusers_z_image.rules,
    "Flux2Transformer2DModel": diffusers_flux2.rules,
    "AutoencoderKLFlux2": diffusers_flux2_autoencoder.rules,
    "T5EncoderModel": transformers_t5.rules,
    "Qwen3Model": transformers_qwen_encoder.rules,
    "Qwen3ForCausalLM": transformers_qwen_encoder.rules,
    "CLIPTextModel": transformers_clip.rules,
    "CLIPTextModelWithProjection": transformers_clip.rules,
}


def kind_of(config):
    """The class of a part, by its settings."""
    return config.get("_class_name") or config.get("tokenizer_class") or config["architectures"][0]


def index(name):
    """The model_index.json of a folder."""
    pipeline, more, parts = FOLDERS[name]
    entries = {}
    for part, config in parts.items():
        library = "transformers" if part.startswith(("text", "tok")) else "diffusers"
        entries[part] = [library, kind_of(config)]
    return {"_class_name": pipeline, "_diffusers_version": "0.42.1", **entries, **more}


@functools.cache
def arrays_of(name, part):
    """Random weights of a part, by the names that they have in its file."""
    return arrays_by(name, part, FOLDERS[name][2][part])


def arrays_by(name, part, config):
    """The same of a part with other settings."""
    reader = part_readers.READERS[kind_of(config)]
    pipeline = model_index.KINDS[FOLDERS[name][0]]
    if part == "text_encoder" and pipeline.read:
        config = config | {transformers_qwen_encoder.READ: pipeline.read}
    context = {"pooled_channels": 6} if "addition_embed_type" in config else {}
    network = reader.network(config, context, {})
    # traced once for all, as when it is opened
    shapes = model_parts.Part(part, pathlib.Path(), config, network, {}, reader).shapes()
    params = rig.drawn_of(shapes)
    theirs = {key: np.asarray(value) for key, value in rules.to_theirs(params, RULES[kind_of(config)](config)).items()}
    theirs |= {key: np.abs(value) for key, value in theirs.items() if key.endswith("running_var")}
    return theirs | {key: np.ones(shape, np.float32) for key, shape in reader.params.unused(config).items()}


def write(root, name, arrays=None):
    """Write a folder and return its path. arrays: (part) -> its weights; None draws them."""
    root.mkdir(parents=True, exist_ok=True)
    (root / model_index.NAME).write_text(json.dumps(index(name)))
    for part, config in FOLDERS[name][2].items():
        folder = root / part
        folder.mkdir(exist_ok=True)
        if part.startswith("tokenizer"):
            write_tokenizer(folder, config)
        elif part == "scheduler":
            (folder / "scheduler_config.json").write_text(json.dumps(config))
        else:
            write_part(folder, config, arrays_of(name, part) if arrays is None else arrays(part))
    return root


def written_as(root, name, pipeline):
    """A folder as another class writes it."""
    folder = write(root, name)
    entries = index(name) | {"_class_name": pipeline}
    (folder / model_index.NAME).write_text(json.dumps(entries))
    return folder


def without_weights(root, name):
    """A folder of settings and tokenizers alone, for a single file of weights."""
    folder = write(root, name)
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    return folder


def write_part(folder, config, weights):
    """Write the settings and the weights of a part."""
    (folder / "config.json").write_text(json.dumps(config))
    stem = "model" if folder.name.startswith("text") else files.STEM
    safetensors.numpy.save_file(weights, folder / f"{stem}.safetensors", {"format": "pt"})


class Folders(dict):
    """The path of each folder, written when it is first asked for; nobody may change it. arrays: as of `write`."""

    def __init__(self, folder, arrays=None):
        super().__init__()
        self.place, self.arrays = folder, arrays

    def __missing__(self, name):
        return self.setdefault(name, write(self.place / name, name, self.arrays))


def write_tokenizer(folder, settings=TOKENIZER):
    """Write vocab.json, merges.txt and tokenizer_config.json, or tokenizer.json for T5 and Qwen."""
    if settings["tokenizer_class"] == "Qwen2Tokenizer":
        return tiny_chat_tokenizer.write(folder, settings)
    if settings["tokenizer_class"] == "T5Tokenizer":
        return tiny_t5_tokenizer.write(folder, settings)
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in MERGES)]) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_control(folder, **changes):
    """Write the folder of a tiny ControlNet of random weights, with other settings in its configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONTROL | changes))
    network = adapters.READER.network(CONTROL, {}, {})
    params = rig.random_params(network, *adapters.READER.example(network, 4))
    arrays = {
        name: np.asarray(array) for name, array in rules.to_theirs(params, diffusers_controlnet.rules(CONTROL)).items()
    }
    safetensors.numpy.save_file(arrays, folder / f"{files.STEM}.safetensors")
    return folder
