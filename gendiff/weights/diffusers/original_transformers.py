"""Transformers of FLUX, Stable Diffusion 3 and Z-Image with the names of their authors, under those of diffusers.

Model sites have such a transformer in one file of safetensors or GGUF. Its arrays stay there, and parts of one array
are parts of it: only the few that have their halves swapped are read.
"""

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

import numpy as np

from gendiff.core.errors import CheckpointMismatchError
from gendiff.core.types import Config
from gendiff.weights import layouts, rules
from gendiff.weights.diffusers import diffusers_flux, diffusers_flux2, diffusers_sd3, diffusers_z_image, original_names
from gendiff.weights.quantised.gguf import Packed
from gendiff.weights.rules import Arrays, ForeignArray


class Original(NamedTuple):
    """A class of diffusers of which there are files as its authors lay them out.

    Attributes:
        module: with its fields and rules.
        architecture: its name in GGUF files.
    """

    module: ModuleType
    architecture: str


KINDS: Mapping[str, Original] = {
    diffusers_flux.KIND: Original(diffusers_flux, "flux"),
    diffusers_flux2.KIND: Original(diffusers_flux2, "flux"),
    diffusers_sd3.KIND: Original(diffusers_sd3, "sd3"),
    diffusers_z_image.KIND: Original(diffusers_z_image, "lumina2"),
}
"""By the class of diffusers. A new class is one line here."""
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
"""How names may begin: ComfyUI writes the first one."""
WORDS = {"weight": "weight", "bias": "bias", "scale": "weight"}
"""What ends the name of an array of a layer, there and in diffusers."""
LEADING = {"pos_embed": "pos_embed.pos_embed", "x_pad_token": "x_pad_token", "cap_pad_token": "cap_pad_token"}
"""Arrays that are no layers, and their names in diffusers.

Their first axis has length 1. Older files lack it, and so do GGUF files, which drop such axes.
"""
AXES = {"pos_embed": 3, "x_pad_token": 2, "cap_pad_token": 2}
UNUSED = ("norm_final.weight",)
"""Arrays that no output depends on."""


def transformer(arrays: Arrays, config: Config, kind: str) -> dict[str, ForeignArray]:
    """Return the arrays of a transformer under the names of diffusers, for the `params` of its module.

    An array without a name of its authors keeps its name: it may be that of diffusers, and else `rules.to_ours` refuses
    it.

    Args:
        arrays: those of the transformer, by name, without a prefix.
        config: the config.json of the model.
        kind: its class, one of KINDS.

    Raises:
        ConfigError: as `network_fields` of its module does.
        CheckpointMismatchError: for two arrays of one name, and layers side by side that are too few.
    """
    module, names = KINDS[kind].module, original_names.BY_CLASS[kind]
    width = module.network_fields(config)["width"]
    scaled_first = {
        name for rule in module.rules(config) if isinstance(rule.layout, layouts.SwappedOutputs) for name in rule.theirs
    }
    result: dict[str, ForeignArray] = {}
    for name, array in arrays.items():
        if name in UNUSED:
            continue
        for diffusers_name, part in _parts(name, array, names, width).items():
            if diffusers_name in result:
                raise CheckpointMismatchError(f"{name} is {diffusers_name} of diffusers, as another array is")
            # all their layers have shifts before scales
            swapped = diffusers_name in scaled_first and diffusers_name != name and part.ndim > 0
            result[diffusers_name] = _swapped(part) if swapped else part
    return result


def _parts(name: str, array: ForeignArray, names: original_names.Names, width: int) -> dict[str, ForeignArray]:
    """An array by its name in diffusers, or each layer that it holds by its name."""
    if name in LEADING:
        return {LEADING[name]: rules.with_leading_axis(array) if array.ndim == AXES[name] - 1 else array}
    layer, _, word = name.rpartition(".")
    first, _, rest = layer.partition(".")
    number, _, within = rest.partition(".")
    row = f"{first}.{{block}}.{within}" if number.isdecimal() else layer
    if row not in names or word not in WORDS:
        return {name: array}
    targets = [f"{each}.{WORDS[word]}" for each in names[row].format(block=number).split()]
    if len(targets) == 1:
        return {targets[0]: array}
    last = (len(targets) - 1) * width
    if array.ndim == 0 or array.shape[0] <= last:
        raise CheckpointMismatchError(
            f"{name} has shape {array.shape}, and more than {last} rows are needed for {len(targets)} layers"
        )
    counts = [width] * (len(targets) - 1) + [array.shape[0] - last]
    return {
        target: rules.rows(array, at * width, count)
        for at, (target, count) in enumerate(zip(targets, counts, strict=True))
    }


def _swapped(array: ForeignArray) -> ForeignArray:
    half = array.shape[0] // 2
    if isinstance(array, Packed):
        parts = (array.rows(half, array.shape[0] - half), array.rows(0, half))
        return dataclasses.replace(array, blocks=np.concatenate([part.blocks for part in parts]))
    return np.roll(np.asarray(array), half, 0)
