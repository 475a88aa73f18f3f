"""The layers that a LoRA file may change, by their names in diffusers and transformers and in other releases."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gendiff.core import packed, trees
from gendiff.core.renamed import renamed
from gendiff.core.types import Config, Params
from gendiff.weights import layouts
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_text_unet, latent_diffusion, original_names
from gendiff.weights.lora import low_rank_factors
from gendiff.weights.lora.lora_names import ALPHA, DOWN, UP
from gendiff.weights.lora.low_rank_factors import Factors
from gendiff.weights.rules import Rule, Shape
from gendiff.weights.transformers import transformers_clip, transformers_llama


class Adaptable(NamedTuple):
    """A network whose layers a file may change.

    Attributes:
        rules: for its parameters.
        like: its parameters, or their shapes.
        others: what names of its layers begin with in a single file -> in diffusers.
        originals: what its authors call its layers, a table of `original_names`.
        unused: shapes of arrays of its files that no output depends on, by name. A file may change them: nothing
            comes of it.
    """

    rules: tuple[Rule, ...]
    like: Params
    others: Mapping[str, str] = {}
    originals: original_names.Names = {}
    unused: Mapping[str, tuple[int, ...]] = {}


class Layer(NamedTuple):
    """The position of a foreign layer in a network of ours.

    Attributes:
        path: of its kernel here; "" for a layer that no output depends on.
        rule: of that kernel, which may be several layers side by side.
        number: which of them this one is.
        shape: of its weight there.
    """

    path: str
    rule: Rule
    number: int
    shape: tuple[int, ...]


class Target(NamedTuple):
    """What a file changes under one name.

    Attributes:
        layers: by their names in diffusers, side by side.
        swapped: whether the halves of its outputs stand in the other order there.
    """

    layers: Mapping[str, Layer]
    swapped: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that holds all of them."""
        shapes = [layer.shape for layer in self.layers.values()]
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def split(self, factors: Factors) -> Iterator[tuple[str, Layer, Factors]]:
        """Yield each layer with its factors: all share the first one, and have their outputs of the second."""
        up = np.roll(factors.up, len(factors.up) // 2, 0) if self.swapped else factors.up
        ends = np.cumsum([layer.shape[0] for layer in self.layers.values()])[:-1]
        for (name, layer), part in zip(self.layers.items(), np.split(up, ends), strict=True):
            yield name, layer, Factors(factors.down, part)


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
    return Adaptable(transformers_clip.rules(config), like)


def language_model(fields: Config, like: Params) -> Adaptable:
    """Return a decoder of the families of Llama, Mistral, Qwen and Gemma, by the names of transformers.

    Args:
        fields: of its `networks.LanguageModel`, as `language_models.load` returns them.
        like: its parameters, or their shapes.
    """
    return Adaptable(transformers_llama.decoder_rules(fields), like)


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
    """Return every layer of a network that may change, by its name in diffusers or transformers.

    Raises:
        CheckpointMismatchError: for a parameter without a rule.
    """
    by_path = kernels(model)
    layers = {
        name.removesuffix(".weight"): Layer("", Rule("", (name,), layouts.LINEAR), 0, shape)
        for name, shape in model.unused.items()
        if name.endswith(".weight") and len(shape) == 2
    }
    for path, rule, names in naming.matched(by_path, model.rules):
        if is_adaptable(path, rule):
            shapes = low_rank_factors.shapes(rule, tuple(by_path[path].shape))
            layers |= {name_of(names, number): Layer(path, rule, number, shape) for number, shape in enumerate(shapes)}
    return layers


def targets(model: Adaptable) -> dict[str, Target]:
    """Return what files may change of a network, by the names of `by_name` and by those of its authors.

    These have shifts before scales in every modulation. Where diffusers has the scales first, the layout of a rule says
    so, and the halves of a change are swapped.

    Raises:
        CheckpointMismatchError: as `by_name` does.
    """
    layers = by_name(model)
    result = {
        theirs: Target(
            {name: layers[name] for name in names},
            swapped=original_names.MODULATION in theirs
            and isinstance(layers[names[0]].rule.layout, layouts.SwappedOutputs),
        )
        for theirs, names in original_names.rows(model.originals, layers).items()
    }
    return result | {name: Target({name: layer}) for name, layer in layers.items()}


def mismatch(name: str, target: Target, parts: Mapping[str, np.ndarray]) -> list[str]:
    """Return what is wrong with the arrays of one name, nothing where they fit.

    Args:
        name: that of the target.
        target: what they change.
        parts: role -> array, of both factors at least.
    """
    down, up, alpha = parts[DOWN], parts[UP], parts.get(ALPHA)
    wrong = []
    for role in (DOWN, UP):
        if not jnp.issubdtype(parts[role].dtype, jnp.floating):
            wrong.append(f"{role} of {name} holds {parts[role].dtype}, and floating numbers are needed")
        elif not np.isfinite(parts[role]).all():
            wrong.append(f"{role} of {name} holds numbers that are not finite")
    outputs, inputs, rank = target.shape[0], target.shape[1:], down.shape[0] if down.ndim else 0
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
