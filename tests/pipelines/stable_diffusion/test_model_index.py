"""What a model_index.json may say: the published ones are read, and whatever has no match is refused by name."""

import json

import pytest

from gendiff.core.errors import DataError
from gendiff.pipelines.stable_diffusion import model_index
from tests.pipelines.stable_diffusion.tiny_folders import index
from tests.tables import table

TOKENIZER, PROJECTED = ["transformers", "CLIPTokenizer"], ["transformers", "CLIPTextModelWithProjection"]
SCHEDULER, VAE = ["diffusers", "DDIMScheduler"], {"vae": ["diffusers", "AutoencoderKL"]}
ONE_TOWER = VAE | {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": TOKENIZER,
    "unet": ["diffusers", "UNet2DConditionModel"],
}
CHECKER = ["stable_diffusion", "StableDiffusionSafetyChecker"]
NO_CHECKER = {"requires_safety_checker": False, "safety_checker": [None, None]}
XL = VAE | {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.19.0.dev0",
    "force_zeros_for_empty_prompt": True,
    "add_watermarker": None,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": PROJECTED,
    "tokenizer": TOKENIZER,
    "tokenizer_2": TOKENIZER,
    "unet": ["diffusers", "UNet2DConditionModel"],
}
LATER = ("FluxControlPipeline", "LuminaPipeline", "StableDiffusionPipline")
REFINER = {
    "_class_name": "StableDiffusionXLImg2ImgPipeline",
    "force_zeros_for_empty_prompt": False,
    "requires_aesthetics_score": True,
}
T5, T5_TOKENIZER = ["transformers", "T5EncoderModel"], ["transformers", "T5TokenizerFast"]
SD3 = {
    "_class_name": "StableDiffusion3Pipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": PROJECTED,
    "text_encoder_2": PROJECTED,
    "tokenizer": TOKENIZER,
    "tokenizer_2": TOKENIZER,
    "transformer": ["diffusers", "SD3Transformer2DModel"],
}
FLUX = {
    "_class_name": "FluxPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": T5,
    "tokenizer": TOKENIZER,
    "tokenizer_2": T5_TOKENIZER,
    "transformer": ["diffusers", "FluxTransformer2DModel"],
}
Z_IMAGE = {
    "_class_name": "ZImagePipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3Model"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "ZImageTransformer2DModel"],
}
FLUX_2 = {
    "_class_name": "Flux2KleinPipeline",
    "is_distilled": True,
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3ForCausalLM"],
    "tokenizer": ["transformers", "Qwen2TokenizerFast"],
    "transformer": ["diffusers", "Flux2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKLFlux2"],
}
LABELS = {"0": "tench, Tinca tinca", "207": "golden retriever"}
DIT = {
    "_class_name": "DiTPipeline",
    "_diffusers_version": "0.12.0.dev0",
    "transformer": ["diffusers", "Transformer2DModel"],
}
PUBLISHED = {
    "Stable Diffusion 1.5": ONE_TOWER
    | {"_diffusers_version": "0.6.0", "scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": CHECKER},
    "Stable Diffusion 2.1": ONE_TOWER | NO_CHECKER | {"_diffusers_version": "0.8.0", "scheduler": SCHEDULER},
    "Stable Diffusion XL": XL,
    "the refiner of XL": XL | REFINER | {"text_encoder": [None, None], "tokenizer": [None, None]},
    "Stable Diffusion 3 medium": VAE | SD3 | {"text_encoder_3": T5, "tokenizer_3": T5_TOKENIZER},
    "Stable Diffusion 3.5 without T5": VAE | SD3 | {"text_encoder_3": [None, None], "tokenizer_3": [None, None]},
    "FLUX.1 [dev]": VAE | FLUX | {"image_encoder": [None, None], "feature_extractor": [None, None]},
    "Z-Image-Turbo": VAE | Z_IMAGE,
    "FLUX.2 [klein]": FLUX_2,
    "DiT-XL/2": VAE | DIT | {"id2label": LABELS, "scheduler": SCHEDULER},
}
"""From memory."""


def read(folder, content):
    (folder / model_index.NAME).write_text(content if isinstance(content, str) else json.dumps(content))
    return model_index.read(folder)


@table("content", PUBLISHED.values())
def test_a_published_folder_is_one_that_is_known(tmp_path, content):
    result = read(tmp_path, content)
    there = {name: entry[1] for name, entry in content.items() if isinstance(entry, list) and entry[0] is not None}
    assert dict(result.parts) | dict.fromkeys(result.skipped) == there | dict.fromkeys(result.skipped)
    assert set(result.skipped) == {name for name in there if name in model_index.SKIPPED}


def test_classes_are_found_by_each_of_their_names(tmp_path):
    assert read(tmp_path, PUBLISHED["DiT-XL/2"]).labels == {"Tinca tinca": 0, "golden retriever": 207, "tench": 0}


def test_a_klein_that_is_not_distilled_is_guided(tmp_path):
    assert [read(tmp_path, FLUX_2 | {"is_distilled": value}).kind.guided for value in (True, False)] == [False, True]


STABLE = index("stable")
REFUSED = [
    ("", "not JSON"),
    ("[]", "must hold one JSON object"),
    ({}, "_class_name = None is no class of diffusers"),
    ({"_class_name": ["pipeline", "Own"]}, "code in a folder is never run"),
    *(({"_class_name": name}, f"{name} is not supported yet: there are StableDiffusionPipeline") for name in LATER),
    (STABLE | {"unet": None}, "has no unet, which Stable Diffusion needs"),
    (STABLE | {"vae": ["diffusers", "AutoencoderTiny"]}, "vae = 'AutoencoderTiny' is none of AutoencoderKL"),
    (STABLE | {"scheduler": ["diffusers", "LMSDiscreteScheduler"]}, "scheduler = 'LMSDiscreteScheduler' is none of"),
    (
        STABLE | {"unet": ["my_unet", "UNet2DConditionModel"]},
        "is of none of diffusers, transformers, stable_diffusion: code in a folder",
    ),
    (STABLE | {"safety_checker": ["my_checker", "Checker"]}, "code in a folder is never run"),
    (STABLE | {"unet": "UNet2DConditionModel"}, "must be a library and a class"),
    (
        STABLE | {"controlnet": ["diffusers", "ControlNetModel"]},
        "controlnet = .* is an entry that is not known for Stable",
    ),
    (STABLE | {"trust_remote_code": True}, "trust_remote_code = True is an entry that is not known"),
    (STABLE | {"auto_map": {"AutoModel": "model.Own"}}, "auto_map = .* is an entry that is not known"),
    (STABLE | {"requires_safety_checker": "yes"}, "requires_safety_checker = 'yes' is not supported"),
    (PUBLISHED["Stable Diffusion XL"] | {"tokenizer": [None, None]}, "has no tokenizer, and has text_encoder"),
    (PUBLISHED["Stable Diffusion XL"] | {"force_zeros_for_empty_prompt": 0}, "prompt = 0 is not supported, only True"),
    *(
        (PUBLISHED["DiT-XL/2"] | {"id2label": {number: "b"}}, "id2label must give the number of each class its names")
        for number in ("a", "9" * 5000)
    ),
]


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table("content, message", REFUSED)
def test_what_has_no_match_is_refused_by_name_and_path_first(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / model_index.NAME))


def test_a_folder_without_an_index_and_a_single_file_are_told_apart(tmp_path):
    with pytest.raises(DataError, match=r"model_index.json: no such file$"):
        model_index.read(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(DataError, match="a single file of weights goes with the folder of the same model's settings"):
        model_index.read(tmp_path / "model.safetensors")
