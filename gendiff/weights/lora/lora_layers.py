"""The layers that a LoRA file may change: those of Stable Diffusion, by their names in diffusers and transformers."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gendiff.core import packed, trees
from gendiff.core.renamed import renamed
from gendiff.core.types import Config, Params
from gendiff.weights import layouts
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_text_unet, latent_diffusion
from gendiff.weights.lora import low_rank_factors
from gendiff.weights.lora.lora_names import ALPHA, DOWN, UP
from gendiff.weights.rules import Rule, Shape
from gendiff.weights.transformers import transformers_clip


class Adaptable(NamedTuple):
    """A network whose layers a file may change. Built by `unet` and `text_encoder`.

    Attributes:
        rules: for its parameters.
        like: its parameters, or their shapes.
        others: what names of its layers begin with in a single file -> in diffusers.
    """

    rules: tuple[Rule, ...]
    like: Params
    others: Mapping[str, str]


class Layer(NamedTuple):
    """The position of a foreign layer in a network of ours.

    Attributes:
        path: of its kernel here.
        rule: of that kernel, which may be several layers side by side.
        number: which of them this one is.
        shape: of its weight there.
    """

    path: str
    rule: Rule
    number: int
    shape: tuple[int, ...]


def unet(config: Config, like: Params) -> Adaptable:
    """Return the U-Net of Stable Diffusion, whose layers files call by the names of diffusers or of a single file.

    Args:
        config: its config.json.
        like: parameters of `networks.UNet(**diffusers_text_unet.network_fields(config))`, or their shapes.

    Raises:
        ConfigError: as `diffusers_text_unet.network_fields` does.
    """
    return Adaptable(diffusers_text_unet.rules(config), like, latent_diffusion.unet_names(config))


def text_encoder(config: Config, like: Params) -> Adaptable:
    """Return the text tower of a CLIP, as Stable Diffusion has one or two.

    Args:
        config: its config.json.
        like: parameters of `networks.TextEncoder(**transformers_clip.network_fields(config))`, or their shapes.

    Raises:
        ConfigError: as `transformers_clip.network_fields` does.
    """
    return Adaptable(transformers_clip.rules(config), like, {})


def kernels(model: Adaptable) -> dict[str, Shape | packed.PackedKernel]:
    """Return every parameter of a network, or its shape, by its path; a packed kernel is one."""
    return trees.paths(model.like, is_leaf=packed.is_packed)


def is_adaptable(path: str, rule: Rule) -> bool:
    """Whether a parameter is the kernel of linear layers or of convolutions, and not a norm, a bias or a table."""
    return path.rsplit("/", 1)[-1] == "kernel" and rule.copies == 1 and layouts.SAME not in rule.layouts_of_parts


def name_of(names: list[list[str]], number: int) -> str:
    """Return the name of a layer, from those of the weights of a rule."""
    return names[number][0].removesuffix(".weight")


def by_name(model: Adaptable) -> dict[str, Layer]:
    """Return every layer of a network that may change, by its name there.

    Raises:
        CheckpointMismatchError: for a parameter without a rule.
    """
    by_path = kernels(model)
    layers: dict[str, Layer] = {}
    for path, rule, names in naming.matched(by_path, model.rules):
        if is_adaptable(path, rule):
            shapes = low_rank_factors.shapes(rule, tuple(by_path[path].shape))
            layers |= {name_of(names, number): Layer(path, rule, number, shape) for number, shape in enumerate(shapes)}
    return layers


def mismatch(name: str, layer: Layer, parts: Mapping[str, np.ndarray]) -> list[str]:
    """Return what is wrong with the arrays of one layer, nothing where they fit.

    Args:
        name: of the layer.
        layer: where it lies.
        parts: role -> array, of both factors at least.
    """
    down, up, alpha = parts[DOWN], parts[UP], parts.get(ALPHA)
    wrong = [
        f"{role} of {name} holds {parts[role].dtype}, and floating numbers are needed"
        for role in (DOWN, UP)
        if not jnp.issubdtype(parts[role].dtype, jnp.floating)
    ]
    outputs, inputs, rank = layer.shape[0], layer.shape[1:], down.shape[0] if down.ndim else 0
    flat = (rank, inputs[0])
    single = set(inputs[1:]) <= {1}  # a matrix and a convolution of single pixels are the same
    if rank == 0 or (down.shape != (rank, *inputs) and not (single and down.shape in (flat, (*flat, 1, 1)))):
        wrong.append(f"{DOWN} of {name} has shape {down.shape}, and (rank, {', '.join(map(str, inputs))}) is needed")
    elif up.shape not in ((outputs, rank), (outputs, rank, 1, 1)):
        wrong.append(f"{UP} of {name} has shape {up.shape}, and ({outputs}, {rank}) is needed: {DOWN} has rank {rank}")
    if alpha is not None and not (alpha.size == 1 and 0 < float(alpha.reshape(())) < math.inf):
        wrong.append(f"{ALPHA} of {name} is {alpha.tolist()}, and one positive number is needed")
    return wrong


__getattr__ = renamed("weights.lora_layers", {"of": ("weights.lora_layers.by_name", by_name)})
