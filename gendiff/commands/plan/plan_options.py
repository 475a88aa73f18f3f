"""Options of the command `plan`."""

import dataclasses
from typing import Annotated, Literal

import msgspec
import tyro

from gendiff.runs.dtypes import Dtype
from gendiff.runs.ranges import Count, Natural

CPU = "cpu"
PartOfPeak = Annotated[float, msgspec.Meta(gt=0, le=1)]


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """Say how long a training step and a draw take at best on an accelerator, by the roofline, and what fits into its
    memory.

    plan --cost, with options of its own, says when serving a language model has cost as much as training it.
    """

    accelerator: Literal["h100", "h200", "a100", "tpu-v5e", "tpu-v5p", "tpu-v6e", "cpu"]
    """The device. cpu is this machine, whose rates are measured first."""
    model: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder of diffusers in place of --network: what one picture takes. None of its weights is read."""
    size: Annotated[tuple[Count, Count] | None, tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """With --model: of the picture, in pixels; None is that of the training."""
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
    them.
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
