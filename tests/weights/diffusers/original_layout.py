"""Transformers of diffusers as their authors lay them out: the other way round than `original_transformers` goes."""

import functools
from pathlib import Path

import numpy as np
import safetensors

from gendiff.weights import original_names

FIXTURE = Path(__file__).parents[2] / "pipelines" / "stable_diffusion" / "fixture.safetensors"
BLOCKS = 40
"""More than a network has."""
NORMS = ("query_norm", "key_norm")
"""Layers of Black Forest Labs whose weights are called scales."""


@functools.cache
def of_diffusers(folder):
    """The transformer of a tiny folder, as diffusers wrote it."""
    beginning = f"{folder}/transformer/"
    with safetensors.safe_open(FIXTURE, "numpy") as file:
        return {
            name.removeprefix(beginning): file.get_tensor(name) for name in file.keys() if name.startswith(beginning)
        }


def original(arrays, kind, depth=0):
    """Arrays of diffusers in the original layout.

    depth: blocks of Stable Diffusion 3, whose last one has the shifts of texts first there.
    """
    last = f"joint_blocks.{depth - 1}.context_block.adaLN_modulation.1"
    swapped = () if kind == "ZImageTransformer2DModel" else ("final_layer.adaLN_modulation.1", last)
    remaining, result = dict(arrays), {}
    for row, layers in original_names.BY_CLASS[kind].items():
        for number in range(BLOCKS if "{" in row else 1):
            layer, parts = row.format(block=number), layers.format(block=number).split()
            for word in ("weight", "bias"):
                if f"{parts[0]}.{word}" not in remaining:
                    continue
                array = np.concatenate([remaining.pop(f"{part}.{word}") for part in parts])
                if layer in swapped:
                    array = np.concatenate(np.split(array, 2)[::-1])
                result[f"{layer}.{'scale' if layer.endswith(NORMS) else word}"] = array
    return result | {"pos_embed" if name == "pos_embed.pos_embed" else name: remaining[name] for name in remaining}
