"""Tiny pipelines of diffusers with the settings of `tiny_folders`: built, drawn with, and written as folders. It needs
torch.
"""

import contextlib
import copy
import inspect
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image

from tests.pipelines.stable_diffusion import peer_draws, tiny_chat_tokenizer, tiny_folders, tiny_t5_tokenizer
from tests.pipelines.stable_diffusion.peer_cases import CASES, Case
from tests.pipelines.stable_diffusion.tiny_folders import CONTROL, FOLDERS, MERGES, VOCABULARY
from tests.weights.diffusers.make_text_unets_fixture import randomized as with_random_weights

__all__ = ["CASES", "built", "latents", "samples", "weights"]

STEPS = peer_draws.STEPS


def built(name: str, **changes: Any) -> Any:
    """The pipeline of a tiny folder, its weights at random and exact in float16. changes: a part -> other settings of
    it; an entry of the index -> another value.
    """
    kind, more, settings = FOLDERS[name]
    parts = {
        part: None if changes.get(part, {}) is None else _part(part, config | changes.get(part, {}), seed)
        for seed, (part, config) in enumerate(settings.items())
    }
    lacking = {part: None for part in ("text_encoder", "tokenizer") if part not in parts and kind != "DiTPipeline"}
    options = {key: changes.get(key, value) for key, value in more.items() if key not in lacking}
    if kind.startswith("StableDiffusionPipeline") or kind.startswith("StableDiffusionInpaint"):
        options |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    elif kind in ("FluxPipeline", "StableDiffusion3Pipeline"):
        lacking = {}
    elif "XL" in kind:
        options |= {"add_watermarker": False}
    pipe = getattr(diffusers, kind)(**parts, **lacking, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def built_fill() -> Any:
    """The pipeline of FLUX.1 Fill with the parts of "flux"."""
    parts = built("flux", transformer=peer_draws.FILL).components
    lacking = ("image_encoder", "feature_extractor")
    pipe = diffusers.FluxFillPipeline(**{name: part for name, part in parts.items() if name not in lacking})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def built_control() -> Any:
    """A tiny ControlNet for the U-Net of "stable", its weights at random and exact in float16."""
    return _part("controlnet", CONTROL, 9)


def weights(pipe: Any) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of each part in float16, where that is exact, by the names that `save_pretrained` writes."""
    result = {}
    for part in ("text_encoder", "text_encoder_2", "text_encoder_3", "unet", "vae", "transformer"):
        model = getattr(pipe, part, None)
        if model is not None:
            named = {key: value for key, value in model.state_dict().items() if not key.endswith("position_ids")}
            result[part] = {
                _in_file(model, key): np.ascontiguousarray(_half(value).numpy()) for key, value in named.items()
            }
    return result


def latents(case: Case) -> np.ndarray:
    """First latents, channels last."""
    return np.random.default_rng(0).normal(size=(len(case.prompts), *case.latent)).astype(np.float32)


def samples(pipe: Any, case: Case, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(last latents, pictures in [0, 1]), channels last."""
    if case.pipeline is not None:
        pipe = getattr(diffusers, case.pipeline)(**pipe.components)
        pipe.set_progress_bar_config(disable=True)
    arguments: dict[str, Any] = {
        "prompt": list(case.prompts),
        "num_inference_steps": case.steps,
        "guidance_scale": case.scale,
    }
    if case.negative is not None:
        arguments["negative_prompt"] = [case.negative] * len(case.prompts)
    if case.folder != "stable":
        arguments |= {"height": case.size[0], "width": case.size[1]}
    if case.folder == "flux":
        arguments |= {"true_cfg_scale": case.scale, "guidance_scale": case.embedded, "max_sequence_length": 12}
    if case.folder == "sd3":
        arguments |= {"max_sequence_length": 256 if pipe.text_encoder_3 is None else 12}
        arguments |= {"skip_guidance_layers": list(case.skipped) or None}
    if case.folder == "z_image":
        arguments |= {"guidance_scale": case.scale - 1, "max_sequence_length": 40}
    if case.folder == "flux_2":
        arguments |= {"max_sequence_length": 48}
    if case.references:
        arguments["image"] = [Image.fromarray(pixels) for pixels in case.pictures]
    if case.pipeline is not None:  # else it takes sizes of its own
        arguments |= {"max_area": case.size[0] * case.size[1], "_auto_resize": False}
    outputs = []
    for kind in ("latent", "pt"):
        first = channels_first(start)
        if case.folder == "flux":
            first = pipe._pack_latents(first, *(first.shape[axis] for axis in (0, 1, 2, 3)))
        if case.folder == "flux_2":
            first = pipe._patchify_latents(first)
        with torch.inference_mode():
            images = pipe(**copy.deepcopy(arguments), latents=first, output_type=kind).images
        if case.folder == "flux" and kind == "latent":
            images = pipe._unpack_latents(images, *case.size, 2)
        if case.folder == "flux_2" and kind == "latent":
            norm, packed = pipe.vae.bn, pipe._patchify_latents(images)
            mean, std = norm.running_mean, torch.sqrt(norm.running_var + norm.eps)
            images = pipe._unpatchify_latents((packed - mean[:, None, None]) / std[:, None, None])
        outputs.append(channels_last(images))
    return outputs[0], outputs[1]


def filled(pipe: Any) -> np.ndarray:
    """What FLUX.1 Fill draws, pictures in [0, 1], channels last."""
    image, mask = peer_draws.hole()
    with without_chance(pipe, peer_draws.noise_of((8, 8, 4))), torch.inference_mode():
        options = {"prompt": "red cat", "image": channels_first((image + 1) / 2), "mask_image": channels_first(mask)}
        options |= {"height": 16, "width": 16, "max_sequence_length": 12, "guidance_scale": 3.0}
        return channels_last(pipe(**options, num_inference_steps=STEPS, output_type="pt").images)


def of_class(pipe: Any) -> np.ndarray:
    """What a DiT draws of a class, pictures in [0, 1], channels last."""
    options = {"class_labels": [peer_draws.LABEL], "guidance_scale": 3.0}
    with without_chance(pipe, peer_draws.noise_of((8, 8, 4))), torch.inference_mode():
        return channels_last(pipe(**options, num_inference_steps=STEPS, output_type="pt").images)


def without_chance(pipe: Any, noise: np.ndarray) -> contextlib.AbstractContextManager[Any]:
    """Their pipeline takes the most likely latents, and our noise."""
    return mock.patch.dict(
        vars(inspect.getmodule(type(pipe))),
        {
            "retrieve_latents": lambda encoded, **_: encoded.latent_dist.mode(),
            "randn_tensor": lambda *_, **__: channels_first(noise),
        },
    )


def channels_first(image: np.ndarray) -> torch.Tensor:
    """As torch takes it."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 1)))


def channels_last(images: torch.Tensor) -> np.ndarray:
    """As we have it."""
    return np.ascontiguousarray(np.moveaxis(images.float().numpy(), 1, -1))


def _part(part: str, config: dict[str, Any], seed: int) -> Any:
    if config.get("tokenizer_class") == "T5Tokenizer":
        settings = {key: config[key] for key in ("model_max_length", "extra_ids", "legacy")}
        return transformers.T5Tokenizer(vocab=tiny_t5_tokenizer.VOCABULARY, **settings)
    if config.get("tokenizer_class") == "Qwen2Tokenizer":
        settings = {key: value for key, value in config.items() if key not in ("tokenizer_class", "chat_template")}
        result = transformers.Qwen2Tokenizer(
            vocab=tiny_chat_tokenizer.VOCABULARY,
            merges=list(tiny_chat_tokenizer.MERGES),
            additional_special_tokens=list(tiny_chat_tokenizer.SPECIAL),
            **settings,
        )
        result.chat_template = config["chat_template"]
        return result
    if part.startswith("tokenizer"):
        padding = config["pad_token"]
        return transformers.CLIPTokenizer(
            vocab=VOCABULARY,
            merges=list(MERGES),
            pad_token=padding,
            model_max_length=tiny_folders.LENGTH,
            unk_token=tiny_folders.END,
        )
    if part == "scheduler":
        return getattr(diffusers, config["_class_name"]).from_config(config)
    if part.startswith("text"):
        kind = config["architectures"][0]
        settings = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
        kinds = {"T5EncoderModel": transformers.T5Config, "Qwen3Model": transformers.Qwen3Config}
        kinds["Qwen3ForCausalLM"] = transformers.Qwen3Config
        config_class = kinds.get(kind, transformers.CLIPTextConfig)
        return with_random_weights(getattr(transformers, kind)(config_class(**settings)), seed)
    settings = {key: value for key, value in config.items() if not key.startswith("_")}
    model = with_random_weights(getattr(diffusers, config["_class_name"])(**settings), seed)
    if config["_class_name"] == "AutoencoderKLFlux2":
        count = model.bn.running_mean.numel()
        model.bn.running_mean.copy_(torch.linspace(-0.5, 0.5, count).half())
        model.bn.running_var.copy_(torch.linspace(0.5, 2.0, count).half())
    return model


def _half(value: torch.Tensor) -> torch.Tensor:
    """In float16; fixed positions, which are no float16, stay as they are."""
    half = value.half()
    return half if torch.equal(half.to(value.dtype), value) else value


def _in_file(model: Any, key: str) -> str:
    """A CLIPTextModel in memory may lack the beginning that its names have in files."""
    clip = type(model).__name__.startswith("CLIP")
    return f"text_model.{key}" if clip and not key.startswith(("text_model.", "text_projection.")) else key
