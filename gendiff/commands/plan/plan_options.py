"""Options of the command `plan`."""

import dataclasses
from typing import Annotated, Literal

import msgspec
import tyro

from gendiff.commands.train import named_networks
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges, run_folder
from gendiff.runs.dtypes import Dtype
from gendiff.runs.ranges import Count, Natural

Named = Literal["h100", "h100-pcie", "h200", "a100", "a10", "l40s", "l4", "rtx-4090", "tpu-v5e", "tpu-v5p", "tpu-v6e"]
"""Accelerators whose rates are published."""
CPU = "cpu"
OF_FOLDERS = ("weights", "storage", "tile")
"""Options that say nothing of a network."""
OF_NETWORKS = ("network", "shape", "classes", "batch", "remat", "compiled")
"""Options that say nothing of a folder."""
PartOfPeak = Annotated[float, msgspec.Meta(gt=0, le=1)]


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """Say how long a training step and a draw take at best on an accelerator, by the roofline, and what fits into its
    memory.

    plan --cost, with options of its own, says when serving a language model has cost as much as training it.
    """

    accelerator: Literal[Named, "cpu"]
    """The device. cpu is this machine, whose rates are measured first."""
    model: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder of diffusers in place of --network: what one picture takes. None of its weights is read."""
    size: Annotated[tuple[Count, Count] | None, tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """With --model: of the picture, in pixels; None is that of the training."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """With --model: a single file in place of the folder's weights, as in `text-to-image --weights`."""
    storage: Literal["full", "int8", "int4", "float8", "as-file"] | None = None
    """With --model: how its kernels are kept in memory, as in `text-to-image --storage`. None is as-file with a .gguf
    file, and else full.
    """
    tile: Count | None = None
    """With --model: side in pixels of the tiles that the autoencoder writes, as in `text-to-image --tile`."""
    network: str = "dit-xl/2"
    """unet-small, unet-base, or dit-WIDTH/PATCH with WIDTH tiny, s, b, l or xl and PATCH 2, 4, 8 or 16."""
    shape: Annotated[tuple[Count, Count, Count], tyro.conf.arg(metavar="H W C")] = (32, 32, 4)
    """Height, width and channels of what the network sees. The default is the latents of pictures of 256 × 256
    pixels.
    """
    classes: Natural = 1000
    """How many classes there are; 0 for none."""
    batch: Count = 256
    """Samples per step, over all devices."""
    mesh: str = "data=1"
    """Devices as in `train --mesh`: data=8 splits the batch over 8, fsdp=8 also the parameters and all that belongs to
    them. With --model as in `text-to-image --mesh`: what each device holds.
    """
    dtype: Dtype = "auto"
    """Type of activations; auto is bfloat16 on accelerators, and on a CPU what suits it. Parameters are float32."""
    remat: Literal["none", "products", "all"] = "none"
    """What the backward pass computes again to save memory: nothing, all but linear layers and convolutions, or all of
    each block.
    """
    steps: Count = 50
    """Steps of a draw, with one evaluation each."""
    guided: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw with classifier-free guidance, which evaluates each sample twice."""
    flops_share: PartOfPeak = 1.0
    """Share of the peak rate of arithmetic that programs reach; below 1 the bounds become estimates."""
    bandwidth_share: PartOfPeak = 1.0
    """The same of the bandwidth."""
    compiled: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also compile both programs for this CPU, which takes minutes for a large network, and show what XLA says of their
    memory.
    """
    smoke: tyro.conf.FlagCreatePairsOff[bool] = False
    """Plan a tiny network in place of --network, compiled too, to see that it runs."""


def check(options: PlanOptions) -> None:
    """ConfigError for options that are out of range or do not fit each other."""
    ranges.check(options)
    if options.size is not None and options.model is None:
        raise ConfigError("--size is for a folder of diffusers: name one by --model, or give --shape")
    for name in OF_FOLDERS:
        if getattr(options, name) is not None and options.model is None:
            raise ConfigError(f"--{name} is for a folder of diffusers: name one by --model")
    for field in dataclasses.fields(options) if options.model is not None else ():
        if field.name in OF_NETWORKS and getattr(options, field.name) != field.default:
            raise ConfigError(f"--{field.name} does not go with --model, which says it: leave it out")
    if options.model is None:
        ranges.known("network", [options.network], named_networks.NAMES)
    split(options)


def sizes(options: PlanOptions) -> tuple[int, int, int]:
    """Devices along data, fsdp and tensor. ConfigError for open sizes."""
    axes = run_folder.axes(options.mesh)
    data = 1 if axes.data is None and "data=" not in options.mesh else axes.data
    if data is None or axes.fsdp is None or axes.tensor is None:
        raise ConfigError(f"--mesh {options.mesh}: give the sizes of data and fsdp as numbers, such as data=4,fsdp=2")
    return data, axes.fsdp, axes.tensor


def split(options: PlanOptions) -> tuple[int, int]:
    """Devices along data and fsdp. ConfigError for open sizes, and for a network also for other axes and a batch that
    the devices do not divide.
    """
    data, fsdp, tensor = sizes(options)
    if options.model is not None:
        return data, fsdp
    if tensor != 1:
        raise ConfigError(f"--mesh {options.mesh}: give the sizes of data and fsdp as numbers, such as data=4,fsdp=2")
    if options.batch % (data * fsdp):
        raise ConfigError(
            f"--batch {options.batch} is no multiple of the {data * fsdp} devices of --mesh {options.mesh}"
        )
    return data, fsdp
