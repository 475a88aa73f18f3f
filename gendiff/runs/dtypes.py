"""`--dtype auto|float32|bfloat16`: what a network computes in, and which of the two suits the processor."""

import dataclasses
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from gendiff.core.errors import ConfigError
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import processor

C = TypeVar("C")

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16"]
AUTO = "auto"
HALVES = frozenset(("avx512_bf16", "amx_bf16"))
"""Instructions of x86 processors that multiply bfloat16."""
AMPERE = 8.0
"""Compute capability of NVIDIA's GPUs from which on they multiply bfloat16."""


@dataclasses.dataclass(frozen=True)
class WithDtype:
    """The part of a configuration that says what its networks compute in."""

    dtype: Dtype = "float32"
    """Type of the network's activations: auto takes bfloat16 where the processor multiplies it, else float32, and says
    so.

    Parameters, their average, the optimizer's moments, noise levels and samples stay float32."""


class Suited(NamedTuple):
    """A dtype, and why it suits the processor."""

    dtype: Dtype
    reason: str


def suited() -> Suited:
    """bfloat16 where it is faster on the devices of this process, else float32. DeviceError where there are none."""
    import jax

    from gendiff.runs import devices

    device = devices.local()[0]
    if device.platform == "tpu":
        return Suited("bfloat16", "a TPU multiplies it")
    if device.platform != "cpu":
        capability = str(getattr(device, "compute_capability", ""))
        if capability.replace(".", "", 1).isdecimal() and float(capability) < AMPERE:
            return Suited("float32", f"{device.device_kind} does not multiply bfloat16")
        return Suited("bfloat16", f"{device.device_kind} multiplies it")
    supported = sorted(HALVES & processor.flags())
    if not supported:
        return Suited(
            "float32", f"this processor has neither {' nor '.join(sorted(HALVES))}, and computes bfloat16 more slowly"
        )
    if devices.jax_release() < (0, 12):
        return Suited("float32", f"jax {jax.__version__} computes bfloat16 more slowly; 0.12 does not")
    if devices.ONEDNN not in devices.compiler_options():
        return Suited(
            "float32", "programs do without oneDNN here (see --compile-cache), and compute bfloat16 more slowly"
        )
    return Suited("bfloat16", f"this processor has {' and '.join(supported)}")


def resolve(config: C, progress: Progress, requested: Dtype | None = None) -> C:
    """The configuration with a dtype in the place of `auto`, and a line that says which.

    requested: in place of the configuration's own. ConfigError where the networks of the experiment have no choice.
    """
    if not isinstance(config, WithDtype):
        if requested is not None:
            raise ConfigError(
                f"--dtype {requested}: the networks of this experiment compute in float32 alone; leave it out"
            )
        return config
    dtype: Dtype = config.dtype if requested is None else requested
    if dtype == AUTO:
        dtype, reason = suited()
        progress.line(f"--dtype auto: {dtype}, because {reason}")
    return dataclasses.replace(config, dtype=dtype)


def of_network(dtype: str) -> str | None:
    """The field `dtype` of a network; None for float32, which is that of its input."""
    if dtype == AUTO:
        raise ConfigError("dtype = 'auto' is no type to compute in: settle the configuration first (dtypes.resolve)")
    return None if dtype == "float32" else dtype
