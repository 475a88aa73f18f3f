"""Files of models as strangers write them, and how each is read."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from gendiff import networks
from gendiff.core.errors import DataError
from gendiff.pipelines.stable_diffusion import adapters, inspect, open_model
from gendiff.weights import language_models, lora_files, lora_settings
from tests.pipelines.stable_diffusion import (
    single_files,
    test_original_files,
    tiny_folders,
)
from tests.weights import torch_files
from tests.weights.lora import lora_arrays
from tests.weights.quantised import converted_models, gguf_files

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.array([0.1, 0.2], np.float16)}


def all_of(arrays: Mapping[str, object]) -> None:
    for array in arrays.values():
        np.asarray(array)


def write_parts(folder: Path) -> None:
    for name, array in ARRAYS.items():
        safetensors.numpy.save_file({name: array}, folder / f"{name[0]}.safetensors")
    places = {name: f"{name[0]}.safetensors" for name in ARRAYS}
    (folder / "m.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def write_lora(folder: Path, *, header: bool) -> None:
    layer = "text_model.encoder.layers.1.mlp.fc1"
    changes = lora_arrays.factors({layer: (16, 8)})
    arrays = lora_arrays.of_peft(changes, "text_encoder.")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "alpha_pattern": {"^mlp.fc1": 8}, "bias": "none"}
    texts = {lora_settings.HEADER: json.dumps({f"text_encoder.{name}": value for name, value in settings.items()})}
    safetensors.numpy.save_file(arrays, folder / f"{lora_files.STEM}.safetensors", texts if header else None)
    if not header:
        (folder / lora_files.SETTINGS).write_text(json.dumps(settings))


def lora(path: Path) -> None:
    lora_files.load(path, {"text_encoder": lora_arrays.text_encoder()})


def write_converted(name: str, folder: Path) -> None:
    _, metadata, arrays = converted_models.model(name)
    (folder / "x.gguf").write_bytes(gguf_files.gguf_bytes(metadata, arrays))


def write_torch(folder: Path) -> None:
    arrays = {name: array.astype(np.float32) for name, array in ARRAYS.items()}
    (folder / "x.pt").write_bytes(torch_files.archive(*torch_files.of_arrays(arrays)))
    sizes = {str(number): 4 for number in range(len(arrays))}
    (folder / "y.pt").write_bytes(torch_files.older(*torch_files.of_arrays(arrays, older=True), sizes))


def write_language_model(config: Mapping[str, object], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(ARRAYS, folder / "model.safetensors")


def language_model(path: Path) -> None:
    networks.LanguageModel(**language_models.load(path).fields)


def model(folder: Path, **options: Path) -> None:
    report = inspect(folder, **options)
    if report.problems:
        assert all(problem.startswith(str(folder.parent)) for problem in report.problems)
        raise DataError(report.problems[0])


def write_single(folder: Path) -> None:
    tiny_folders.write(folder / "model", "stable")
    single_files.stored(single_files.in_one_file("stable"), folder)


def write_transformer(folder: Path) -> None:
    tiny_folders.write(folder / "model", "flux")
    arrays = test_original_files.transformer("flux")
    single_files.stored(arrays, folder)
    test_original_files.in_gguf(arrays, folder, "flux")


def write_lora_of_transformer(folder: Path) -> None:
    tiny_folders.write(folder / "model", "flux")
    changes = lora_arrays.factors({"double_blocks.0.img_attn.qkv": (48, 16)})
    arrays = lora_arrays.in_file(changes, "diffusion_model.", ".lora_down.weight", ".lora_up.weight", alpha=1)
    safetensors.numpy.save_file(arrays, folder / "x.safetensors")


def lora_of_transformer(path: Path) -> None:
    lora_files.load(path, adapters.adaptable(open_model(path.with_name("model"))))


def write_control(folder: Path) -> None:
    tiny_folders.write_control(tiny_folders.write(folder / "model", "stable") and folder / "control")


def control(folder: Path) -> None:
    adapters.open_control(folder / "control", open_model(folder / "model"))
