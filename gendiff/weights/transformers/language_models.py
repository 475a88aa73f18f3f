"""Language models of others: load a folder of transformers or a GGUF file, save a folder that transformers loads."""

import functools
import json
import os
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import numpy as np
import safetensors.numpy

from gendiff.core import foreign_files, trees
from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError
from gendiff.core.types import Config, Params
from gendiff.weights import files, settings, streamed
from gendiff.weights import rules as naming
from gendiff.weights.quantised import gguf, gguf_llama
from gendiff.weights.transformers import (
    transformers_gemma,
    transformers_gpt2,
    transformers_llama,
    transformers_mistral,
    transformers_qwen,
)

STEM = "model"
KINDS: dict[str, tuple[str, ModuleType]] = {
    "llama": (transformers_llama.KIND, transformers_llama),
    "qwen2": (transformers_qwen.SECOND, transformers_qwen),
    "qwen3": (transformers_qwen.THIRD, transformers_qwen),
    "mistral": (transformers_mistral.KIND, transformers_mistral),
    "gemma2": (transformers_gemma.SECOND, transformers_gemma),
    "gemma3_text": (transformers_gemma.THIRD, transformers_gemma),
    "gemma3": (transformers_gemma.WITH_PICTURES, transformers_gemma),
    "gpt2": (transformers_gpt2.KIND, transformers_gpt2),
}
"""The value of model_type -> the class, and the module with its rules."""


class Reading(Protocol):
    """Reads the parameters of a model from its files, one after the other, once it is known that all fit."""

    def __call__(self, like: Params, *, maker: naming.Maker | None = None) -> Params:
        """Return the parameters of a network.

        Args:
            like: its parameters, or their shapes.
            maker: as of `rules.to_ours`: `packed_reading.as_stored` leaves kernels as the files have them, and
                `packed_reading.maker` packs each as it is read.
        """


class Foreign(NamedTuple):
    """A foreign language model.

    Attributes:
        fields: of `networks.LanguageModel`.
        config: its config.json, or the metadata of its GGUF file.
        params: reads the parameters of that network.
    """

    fields: Config
    config: Config
    params: Reading


def load(path: str | os.PathLike[str]) -> Foreign:
    """Open a model. Its arrays stay in their files until `Foreign.params` reads them.

    Args:
        path: a folder with config.json and model.safetensors, or its parts with their index, or a `.gguf` file.

    Raises:
        DataError: path first, for missing or damaged files, a kind of model without rules here, and a setting without a
            match.
    """
    source = Path(path)
    if source.suffix.lower() == ".gguf":
        file = gguf.load(source)
        with foreign_files.naming(source):
            fields = gguf_llama.network_fields(file)
        return Foreign(fields, file.metadata, functools.partial(gguf_llama.params, file))
    config = files.load_config(source)
    with foreign_files.naming(source / files.CONFIG):
        module = module_of(config)
        fields = module.network_fields(config)
    arrays = streamed.open_folder(source, STEM)
    with foreign_files.naming(source / files.CONFIG):
        settings.check_depth({**(config.get("text_config") or {}), **config}, arrays)
    return Foreign(fields, config, functools.partial(module.params, config, arrays))


def save(path: str | os.PathLike[str], params: Params, config: Config) -> None:
    """Write a folder that transformers loads: config.json and model.safetensors.

    Args:
        path: the folder, which must not hold a model.
        params: of `networks.LanguageModel(**network_fields(config))`.
        config: as a config.json of one of KINDS; `dtype` is set to that of the parameters.

    Raises:
        ConfigError: for a configuration of another kind, or a setting without a match.
        CheckpointMismatchError: for parameters that are not those of the configuration.
        DataError: path first, for a folder that holds a model.
    """
    folder = Path(path)
    kind = _type_of(config)
    class_name, module = KINDS[kind]
    if class_name == transformers_gemma.WITH_PICTURES:
        raise ConfigError(f"{class_name} is read for its texts, and not written: give its text_config")
    fields, rules = module.network_fields(config), module.rules(config)
    ours = trees.paths(params)
    _check_fit(ours, rules, fields)
    arrays = naming.to_theirs(params, rules)
    taken = (
        sorted(file.name for file in folder.iterdir() if file.name.startswith((STEM, "config")))
        if folder.is_dir()
        else []
    )
    if taken:
        raise DataError(f"{folder}: holds {taken[0]}: name another folder")
    written = {name: value for name, value in config.items() if name != "torch_dtype"}
    written |= {"architectures": [class_name], "model_type": kind, "dtype": str(np.asarray(ours["token"]).dtype)}
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(arrays, folder / f"{STEM}.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def module_of(config: Config) -> ModuleType:
    """Return the module with the rules of a configuration, by its `architectures` or, without these, its `model_type`.

    Raises:
        ConfigError: for a kind without rules here.
    """
    return KINDS[_type_of(config)][1]


def _type_of(config: Config) -> str:
    """The name of KINDS that a configuration is of."""
    named, kind = config.get("architectures"), config.get("model_type")
    for model_type, (name, _) in KINDS.items():
        if list(named) == [name] if isinstance(named, list | tuple) and named else kind == model_type:
            return model_type
    known = ", ".join(name for name, _ in KINDS.values())
    raise ConfigError(f"architectures = {named!r} with model_type = {kind!r} has no rules here, only {known}")


def _check_fit(ours: naming.Arrays, rules: tuple[naming.Rule, ...], fields: Config) -> None:
    """All that the configuration has is there, in its own widths: transformers would draw what is missing at random."""
    heads, width = fields["heads"], fields["width"]
    shared, size = fields.get("key_value_heads") or heads, fields.get("head_size") or width // heads
    inner = fields.get("mlp_width") or 4 * width
    shapes = {"token": (fields["vocabulary"], width)}
    for number in range(fields["depth"]):
        shapes[f"block_{number}/qkv/kernel"] = (width, (heads + 2 * shared) * size)
        shapes[f"block_{number}/mlp_0/kernel"] = (width, (1 + fields.get("gated", True)) * inner)
    expected = {rule.ours.format(block=number) for rule in rules for number in range(fields["depth"])}
    for names, what in (
        (expected - set(ours), "of the configuration are not there"),
        (set(ours) - expected, "are none of the configuration"),
    ):
        if names:
            raise CheckpointMismatchError(f"{len(names)} parameters {what}, such as {min(names)}")
    for path, shape in shapes.items():
        if ours[path].shape != shape:
            raise CheckpointMismatchError(f"{path} has shape {ours[path].shape}, and the configuration says {shape}")
