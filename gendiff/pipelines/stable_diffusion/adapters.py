"""Adapters of an opened folder: LoRA files, which change its parameters, and ControlNets, which read a picture."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gendiff import networks
from gendiff.core import foreign_files, records
from gendiff.core.errors import ConfigError
from gendiff.core.types import Config, Params, PyTree, Scalar
from gendiff.networks import PureFunction, controlnet, lora
from gendiff.pipelines.stable_diffusion import model_parts, part_readers, split_parts
from gendiff.pipelines.stable_diffusion.model_parts import Part
from gendiff.pipelines.stable_diffusion.opened import Opened
from gendiff.pipelines.stable_diffusion.part_readers import Reader
from gendiff.pipelines.stable_diffusion.prompt_pipeline import PromptPipeline
from gendiff.weights import (
    diffusers_controlnet,
    diffusers_text_unet,
    files,
    lora_files,
    lora_layers,
    original_names,
    settings,
    streamed,
)
from gendiff.weights.lora.lora_layers import Adaptable

UNET, AUTOENCODER = "unet", "vae"
HINT_CHANNELS = 3
WITHOUT_TEXT = "a LoRA changes what draws prompts, and this folder has no text encoder"


def adaptable(model: Opened) -> dict[str, Adaptable]:
    """Return the networks of a folder that a LoRA may change, by the names that its files have for them.

    Raises:
        ValueError: for a folder without a text encoder.
    """
    if not any(name in model_parts.TOWERS for name in model.parts):
        raise ValueError(f"{model.index.folder}: {WITHOUT_TEXT}")
    return {name: _adaptable(model, part) for name, part in model.parts.items() if name != AUTOENCODER}


def adapted(
    model: Opened, parts: Mapping[str, Params], path: str | os.PathLike[str], strength: Scalar = 1.0
) -> dict[str, Params]:
    """Return the parameters of parts with a LoRA merged into them; beside packed kernels it stays unmerged.

    Also known as: LoRA merge, fuse_lora.

    Several files are merged one after the other. `with_lora` does the same with trees that
    `weights.lora_files.load(path, adaptable(model))` has read, so that a file is refused before parts are read.
    `networks.lora.unmerged` keeps the trees apart, so that the strength is data.

    Args:
        model: of the folder. Its mesh, if it has one, shares the result too.
        parts: parameters by the names of parts, as `Opened.part_params` reads them.
        path: of the file, or of the folder of an adapter of peft.
        strength: () by which the change is multiplied; 1 is what was trained.

    Raises:
        DataError: path first, for a missing or damaged file, and settings beside the arrays that cannot be followed.
        CheckpointMismatchError: path first, as `lora_files.from_arrays` does.
        ValueError: for a folder without a text encoder.
    """
    return with_lora(model, parts, lora_files.load(path, adaptable(model)), strength)


def with_lora(
    model: Opened, parts: Mapping[str, Params], trees: Mapping[str, Params], strength: Scalar = 1.0
) -> dict[str, Params]:
    """Return the parameters of parts with the trees of a LoRA file merged into them, as `adapted` does.

    Args:
        model: as for `adapted`.
        parts: as for `adapted`.
        trees: of the file, as `weights.lora_files.load` returns them.
        strength: as for `adapted`.
    """
    join = lora.merge if model.storage == "full" else lora.unmerged
    result = {name: join(params, trees[name], strength) for name, params in parts.items() if trees.get(name)}
    if model.mesh is not None:
        result = {name: split_parts.split(params, model.mesh) for name, params in result.items()}
    return {**parts, **result}


def open_control(path: str | os.PathLike[str], model: Opened, *, variant: str | None = None) -> Part:
    """Open the folder of a ControlNet without reading its parameters.

    Args:
        path: a folder with a config.json, as diffusers writes it.
        model: the folder that it is used with.
        variant: of the files of weights, as for `opened.open_model`.

    Returns:
        The part; `params(dtype)` reads its parameters.

    Raises:
        DataError: path first, for missing and damaged files, a setting without a match, and a ControlNet that does not
            fit the U-Net.
        CheckpointMismatchError: path first, as `opened.open_model` does.
    """
    folder = Path(path)
    config = files.load_config(folder)
    with foreign_files.naming(folder / model_parts.CONFIG):
        if UNET not in model.parts or model.paints:
            what = f"{model.index.kind.name}{' for inpainting' if model.paints else ''}"
            raise ConfigError(
                f"a ControlNet goes with a U-Net that reads latents and a prompt, and {model.index.folder} holds {what}"
            )
        if config.get("conditioning_channels", HINT_CHANNELS) != HINT_CHANNELS:
            channels = config["conditioning_channels"]
            raise ConfigError(f"conditioning_channels = {channels!r}: hints are pictures of {HINT_CHANNELS} channels")
        arrays = streamed.open_folder(folder, READER.stem, variant)
        settings.check_depth(config, arrays)
        options = {name: getattr(model.network, name) for name in ("dtype", "remat")}
        pooled = None if config.get("addition_embed_type") is None else model.network.pooled_channels
        network = READER.network(config, {"pooled_channels": pooled}, options)
        if 2 ** (len(network.hint_channels) - 1) != model.autoencoder.factor:
            raise ConfigError(
                f"hint_channels = {network.hint_channels} do not fit latents {model.autoencoder.factor} times smaller"
            )
        for field in ("channels", "blocks", "text_channels", "image_size"):
            value, expected = getattr(network, field), getattr(model.network, field)
            if value != expected:
                raise ConfigError(
                    f"{field} = {value}, and the U-Net of {model.index.folder} has {expected}: "
                    "it is of another kind of model"
                )
    part = Part("controlnet", folder, config, network, arrays, READER)
    part.check(copies=False)
    return part


def controlled(pipeline: PromptPipeline, control: Part) -> PromptPipeline:
    """Return a pipeline whose U-Net is told what its ControlNet says of a `networks.Hint`, which each call then needs.

    Its params["network"] is {"unet": …, "control": …}. A hint is as large as the picture, in [0, 1]. Its scale is data,
    one number or one for each picture.

    Args:
        pipeline: of the folder.
        control: of `open_control`.

    Raises:
        ValueError: as `networks.controlnet.controlled` does.
        TypeError: for a pipeline that has a ControlNet.
    """
    predict = pipeline.latent.predict
    if not isinstance(predict, PureFunction):
        raise TypeError(
            f"the pipeline asks {type(predict).__name__}: one ControlNet goes with the U-Net of a folder alone"
        )
    joined = controlnet.controlled(predict, networks.pure(control.network))
    return records.replace(pipeline, latent=records.replace(pipeline.latent, predict=joined))


def with_control(params: Mapping[str, Params], control: Params) -> dict[str, Params]:
    """Return the parameters of a pipeline with those of its ControlNet: what a pipeline of `controlled` takes."""
    return {**params, "network": dict(zip(controlnet.PARTS, (params["network"], control), strict=True))}


def _adaptable(model: Opened, part: Part) -> Adaptable:
    if part.name == UNET:
        return lora_layers.unet(part.config, part.shapes())
    return Adaptable(
        part.reader.params.rules(part.config),
        part.shapes(),
        originals=original_names.BY_CLASS.get(model.index.parts[part.name], {}),
        unused=part.reader.params.unused(part.config),
    )


def _network(config: Config, context: Config, more: Config) -> networks.ControlNet:
    return networks.ControlNet(**diffusers_controlnet.network_fields(config, context.get("pooled_channels")), **more)


def _example(network: networks.ControlNet, channels: int) -> tuple[PyTree, ...]:
    x, *rest = part_readers.unet_example(network, channels)
    factor = 2 ** (len(network.hint_channels) - 1)
    return x, *rest, networks.Hint(np.zeros((1, factor * x.shape[1], factor * x.shape[2], HINT_CHANNELS), np.float32))


READER = Reader(
    files.STEM, _network, _example, diffusers_controlnet.params, diffusers_text_unet.DEFAULTS["in_channels"]
)
"""How a ControlNet is read."""
