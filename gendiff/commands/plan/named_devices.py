"""The devices that the options of `plan` name."""

import dataclasses

from gendiff.commands.plan import this_machine
from gendiff.commands.plan.plan_options import CPU, PlanOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import dtypes, meshes
from gendiff.scaling import Accelerator, accelerators

PUBLISHED = {
    "tpu-v5e": accelerators.TPU_V5E,
    "tpu-v5p": accelerators.TPU_V5P,
    "tpu-v6e": accelerators.TPU_V6E,
    "a100": accelerators.A100,
    "h100": accelerators.H100,
    "h200": accelerators.H200,
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
    """What the options name; it measures this machine where they name it.

    Raises ConfigError for a mesh of other axes or open sizes, and a batch that it does not divide.
    """
    axes = meshes.parse(options.mesh)
    data, fsdp = 1 if axes.data is None and "data=" not in options.mesh else axes.data, axes.fsdp
    if data is None or fsdp is None or axes.tensor != 1:
        raise ConfigError(f"--mesh {options.mesh}: give the sizes of data and fsdp as numbers, such as data=4,fsdp=2")
    if options.batch % (data * fsdp):
        raise ConfigError(
            f"--batch {options.batch} is no multiple of the {data * fsdp} devices of --mesh {options.mesh}"
        )
    here = options.accelerator == CPU
    dtype = options.dtype if options.dtype != dtypes.AUTO else dtypes.suited().dtype if here else "bfloat16"
    if here:
        return Devices(this_machine.measured(dtype, 256 if options.smoke else 2048), dtype, data * fsdp, fsdp)
    return Devices(PUBLISHED[options.accelerator].at(dtype), dtype, data * fsdp, fsdp)
