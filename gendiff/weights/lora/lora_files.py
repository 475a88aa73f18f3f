"""LoRA files of kohya, peft, diffusers, ai-toolkit and ComfyUI as trees of `networks.lora`, and back to diffusers.

    W' = W + (α / r) · up · down

The factor α / r goes into our second factor, so that `scale` of `networks.lora.unmerged` and `merge` is the strength
that a user chooses, usually in [0, 1]. A file without α means α = r.

References:
    Hu et al., 2021, section 4.1; Kalajdzievski, 2023, Eq. 1, for α / √r (from memory).
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from gendiff.core import files as whole_files
from gendiff.core import foreign_files, trees
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.low_rank import LowRank
from gendiff.core.types import Config, Params
from gendiff.weights import files
from gendiff.weights import rules as naming
from gendiff.weights.lora import lora_layers, lora_names, lora_settings, low_rank_factors
from gendiff.weights.lora.lora_layers import Adaptable, Target
from gendiff.weights.lora.lora_names import ALPHA, DOWN, UP
from gendiff.weights.lora.low_rank_factors import Factors
from gendiff.weights.rules import Arrays

STEM, SETTINGS = "adapter_model", "adapter_config.json"
"""Of the folder that peft writes."""
LANGUAGE = lora_names.PEFT.removesuffix(".")
"""The network of such a folder, whose names do not say which it is."""


def load(path: str | os.PathLike[str], models: Mapping[str, Adaptable]) -> dict[str, Params]:
    """Read a `.safetensors` file, or the folder of an adapter that peft wrote.

    Also known as: adapter weights.

    Args:
        path: of the file or the folder.
        models: "unet" or "transformer", "text_encoder", "text_encoder_2" or "text_encoder_3" -> the network, from
            `lora_layers`. A file that changes another one is refused.

    Returns:
        For each of the models its tree, as `networks.lora` has them; {} where the file does not change it.

    Raises:
        DataError: path first, for a missing or damaged file, and settings that cannot be followed.
        CheckpointMismatchError: path first, as `from_arrays` does.
    """
    file = Path(path)
    settings: Config
    with foreign_files.naming(file):
        if file.is_dir():
            stored = foreign_files.regular(
                file / SETTINGS, f": the folder of an adapter holds it beside {STEM}.safetensors"
            )
            arrays, settings = files.load(file / f"{STEM}.safetensors"), foreign_files.json_object(stored)
        else:
            arrays = files.load(file)
            settings = lora_settings.of_header(files.header(file), os.fspath(file))
        return from_arrays(arrays, models, settings)


def from_arrays(arrays: Arrays, models: Mapping[str, Adaptable], settings: Config | None = None) -> dict[str, Params]:
    """Turn the arrays of a file into trees of low-rank changes, in the dtype of the parameters, at least float32.

    A convolution of single pixels may have its factors as matrices, and a linear layer may have them as such
    convolutions.

    Args:
        arrays: by their names, in any of the ways that `lora_names` reads.
        models: as for `load`.
        settings: of peft, where it wrote them (see `lora_settings`).

    Returns:
        As `load` does.

    Raises:
        CheckpointMismatchError: that names every array of no known layer or kind, every layer with one factor alone or
            given twice, every factor of another shape, and every α that is no positive number. So each array is used
            once.
        ConfigError: for settings that are not supported, and for α in arrays and in settings.
    """
    targets = {name: lora_layers.targets(model) for name, model in models.items()}
    tables = {name: lora_names.names_of_layers(targets[name], models[name].others) for name in models}
    scaling = {name: lora_settings.of_network(settings or {}, name) for name in models}
    by_name, wrong = _by_name(arrays, tables)
    changes: dict[str, dict[str, dict[int, Factors]]] = {name: {} for name in models}
    for (network, name), parts in by_name.items():
        target = targets[network][name]
        missing = [f"{role} of {name}" for role in (DOWN, UP) if role not in parts]
        mismatch = [] if missing else lora_layers.mismatch(name, target, parts)
        wrong["missing"] += missing
        wrong["wrong"] += mismatch
        if missing or mismatch:
            continue
        for part, layer, factors in target.split(_scaled(name, target, parts, scaling[network])):
            numbers = changes[network].setdefault(layer.path, {})
            if layer.number in numbers and layer.path:
                wrong["given twice"].append(f"{part} (by {name} too)")
            numbers[layer.number] = factors
    if not arrays:
        wrong["missing"].append("every array")
    naming.refuse("the LoRA does not fit the networks", wrong)
    return {name: _tree(models[name], changes[name]) for name in models}


def to_arrays(loras: Mapping[str, Params], models: Mapping[str, Adaptable]) -> dict[str, np.ndarray]:
    """Write trees under the names of peft, as diffusers loads them: the inverse of `from_arrays`, with α = r.

    Args:
        loras: name of a network -> its tree; {} for one that does not change.
        models: as for `load`.

    Raises:
        CheckpointMismatchError: for a tree of no such network, or one that changes what is no layer.
    """
    arrays: dict[str, np.ndarray] = {}
    wrong: dict[str, list[str]] = {"unknown": [], "no layers": [], "of another shape": []}
    for network, tree in loras.items():
        if network not in models:
            wrong["unknown"].append(network)
            continue
        changes, kernels = trees.paths(tree, is_leaf=_is_change), lora_layers.kernels(models[network])
        unknown = {path for path, change in changes.items() if path not in kernels or not _is_change(change)}
        wrong["unknown"] += [f"{network}/{path}" for path in sorted(unknown)]
        for path, rule, names in naming.matched(
            [path for path in changes if path not in unknown], models[network].rules
        ):
            kernel, change = tuple(kernels[path].shape), changes[path]
            if not lora_layers.is_adaptable(path, rule):
                wrong["no layers"].append(f"{network}/{path}")
            elif (*change.down.shape[:1], *change.up.shape[1:]) != (math.prod(kernel[:-1]), kernel[-1]):
                wrong["of another shape"].append(
                    f"{network}/{path} of shape {kernel}: {change.down.shape} and {change.up.shape}"
                )
            else:
                for number, factors in low_rank_factors.split(rule, kernel, change).items():
                    name = f"{network}.{lora_layers.name_of(names, number)}"
                    arrays |= {f"{name}.lora_A.weight": factors.down, f"{name}.lora_B.weight": factors.up}
    naming.refuse("the trees are not those of the networks", wrong)
    return arrays


def save(path: str | os.PathLike[str], loras: Mapping[str, Params], models: Mapping[str, Adaptable]) -> None:
    """Write a `.safetensors` file that `load_lora_weights` of diffusers reads, whole or not at all.

    Args:
        path: of the file, which must not be there.
        loras: as for `to_arrays`.
        models: as for `load`.

    Raises:
        CheckpointMismatchError: as `to_arrays` does, and for trees that change nothing.
        DataError: path first, for a file that is there, and for another ending.
    """
    file = Path(path)
    if file.suffix.lower() != ".safetensors":
        raise DataError(f"{file}: must be named .safetensors")
    if file.exists():
        raise DataError(f"{file}: is there already: name another file")
    arrays = to_arrays(loras, models)
    naming.refuse(
        "there is nothing to write", {"trees without a change": [] if arrays else sorted(loras) or ["none was given"]}
    )
    with whole_files.replaced(file) as temporary:
        safetensors.numpy.save_file(arrays, temporary, {"format": "pt"})


def load_adapter(path: str | os.PathLike[str], model: Adaptable) -> Params:
    """Read an adapter of a language model: the folder that peft or `save_adapter` wrote, or its `.safetensors` file.

    Args:
        path: of the folder or the file.
        model: from `lora_layers.language_model`.

    Returns:
        A tree of `networks.lora`.

    Raises:
        DataError: as `load` does.
        CheckpointMismatchError: as `load` does.
    """
    return load(path, {LANGUAGE: model})[LANGUAGE]


def save_adapter(path: str | os.PathLike[str], tree: Params, model: Adaptable, base: str = "") -> None:
    """Write the two files of an adapter that `PeftModel.from_pretrained` loads, with α = r.

    Files of these names are replaced, each in one step.

    Args:
        path: of the folder, which is there.
        tree: of `networks.lora`.
        model: from `lora_layers.language_model`.
        base: name or folder of the model that the adapter belongs to, for the settings.

    Raises:
        CheckpointMismatchError: as `to_arrays` does, and for a tree that changes nothing.
    """
    arrays = to_arrays({LANGUAGE: tree}, {LANGUAGE: model})
    naming.refuse("there is nothing to write", {"trees without a change": [] if arrays else [LANGUAGE]})
    ranks = {
        name.removeprefix(f"{LANGUAGE}.").removesuffix(".lora_A.weight"): len(array)
        for name, array in arrays.items()
        if name.endswith(".lora_A.weight")
    }
    rank = max(ranks.values())
    others = {layer: smaller for layer, smaller in ranks.items() if smaller != rank}
    settings = {
        **{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "inference_mode": True},
        **{"r": rank, "lora_alpha": rank, "rank_pattern": others, "alpha_pattern": others},
        **{"target_modules": sorted(ranks), "lora_dropout": 0.0, "bias": "none", "init_lora_weights": True},
    }
    folder = Path(path)
    with whole_files.replaced(folder / f"{STEM}.safetensors") as temporary:
        safetensors.numpy.save_file(arrays, temporary, {"format": "pt"})
    with whole_files.replacing(folder / SETTINGS) as file:
        file.write(f"{json.dumps(settings, indent=2)}\n".encode())


def _is_change(value: object) -> bool:
    return isinstance(value, LowRank)


def _by_name(
    arrays: Arrays, tables: Mapping[str, Mapping[str, str]]
) -> tuple[dict[tuple[str, str], dict[str, np.ndarray]], dict[str, list[str]]]:
    """(network, name) -> role -> array, and what could not be sorted."""
    result: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    wrong: dict[str, list[str]] = {"unknown": [], "given twice": [], "missing": [], "wrong": []}
    for name, array in sorted(arrays.items()):
        read = lora_names.read(name, tables)
        if read is None:
            wrong["unknown"].append(f"{name}{lora_names.remark(name, tables)}")
            continue
        parts = result.setdefault((read.network, read.layer), {})
        if read.role in parts:
            wrong["given twice"].append(f"{read.role} of {read.layer} ({name})")
        parts[read.role] = np.asarray(array)
    return result, wrong


def _scaled(name: str, target: Target, parts: Mapping[str, np.ndarray], settings: Config) -> Factors:
    """The factors in the shape of what they change, with α / r in the second one."""
    rank, alpha = len(parts[DOWN]), lora_settings.alpha(settings, name)
    if ALPHA in parts and alpha is not None:
        raise ConfigError(f"{name} has its alpha in an array and in the settings beside it: one of them is needed")
    if ALPHA in parts:
        alpha = float(parts[ALPHA].reshape(()))
    scale = 1.0 if alpha is None else alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    with np.errstate(over="ignore"):
        down, up = (np.asarray(parts[role], np.float32) for role in (DOWN, UP))
        up = up.reshape(-1, rank) * np.float32(scale)
    if not (np.isfinite(down).all() and np.isfinite(up).all()):
        raise ConfigError(f"{name}: its factors, or its alpha, are beyond the largest number of float32")
    return Factors(down.reshape(rank, *target.shape[1:]), up)


def _tree(model: Adaptable, changes: Mapping[str, Mapping[int, Factors]]) -> Params:
    """A nested dict of changes at the paths of the kernels."""
    kernels = lora_layers.kernels(model)
    joined: dict[str, LowRank] = {}
    for path, rule, _ in naming.matched(filter(None, changes), model.rules):
        dtype = jnp.promote_types(kernels[path].dtype, jnp.float32)
        joined[path] = low_rank_factors.joined(rule, tuple(kernels[path].shape), changes[path], dtype)
    return trees.nested(joined)
