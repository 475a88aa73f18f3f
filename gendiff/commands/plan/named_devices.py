"""The devices that the options of `plan` name."""

import dataclasses

from gendiff.commands.plan import plan_options
from gendiff.commands.plan.plan_options import CPU, PlanOptions
from gendiff.runs import dtypes
from gendiff.scaling import Accelerator, accelerators

PUBLISHED = {
    "tpu-v5e": accelerators.TPU_V5E,
    "tpu-v5p": accelerators.TPU_V5P,
    "tpu-v6e": accelerators.TPU_V6E,
    "a100": accelerators.A100,
    "h100": accelerators.H100,
    "h100-pcie": accelerators.H100_PCIE,
    "h200": accelerators.H200,
    "l40s": accelerators.L40S,
    "l4": accelerators.L4,
    "a10": accelerators.A10,
    "rtx-4090": accelerators.RTX_4090,
}
"""What --accelerator says -> the device; their numbers and sources stand in gendiff/scaling/accelerators.py."""


@dataclasses.dataclass(frozen=True)
class Devices:
    """Those that compute. one: the rates of one, at the dtype, before any share. parts: into how many the batch is
    split.

    shards: over how many the parameters are.
    """

    one: Accelerator
    dtype: str
    parts: int
    shards: int


def devices(options: PlanOptions) -> Devices:
    """What the options name; it measures this machine where they name it."""
    data, fsdp = plan_options.split(options)
    here = options.accelerator == CPU
    dtype = options.dtype if options.dtype != dtypes.AUTO else dtypes.suited().dtype if here else "bfloat16"
    if here:
        from gendiff.commands.plan import this_machine

        return Devices(this_machine.measured(dtype, 256 if options.smoke else 2048), dtype, data * fsdp, fsdp)
    return Devices(PUBLISHED[options.accelerator].at(dtype), dtype, data * fsdp, fsdp)
