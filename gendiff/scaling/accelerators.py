"""Accelerators as two rates and a memory, and the published ones of a few."""

import dataclasses
import math

from gendiff.core import checks
from gendiff.scaling.quantities import positive


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """The speed and memory of one device, or of several that share the work evenly.

    Args:
        name: of the device.
        flops: operations per second at the precision that one computes in, a multiplication and an addition being two.
        bandwidth: bytes per second between memory and arithmetic.
        memory: bytes.
        source: where the numbers stand.
        float32_flops: operations per second on float32 numbers at JAX's default precision. None: as `flops`.
        kinds: what JAX calls it, as `jax.Device.device_kind` says.
    """

    name: str
    flops: int | float
    bandwidth: int | float
    memory: int | float = math.inf
    source: str = ""
    float32_flops: int | float | None = None
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        positive(flops=self.flops, bandwidth=self.bandwidth, memory=self.memory, float32_flops=self._in_float32)

    @property
    def intensity(self) -> float:
        """Operations per byte from which on arithmetic, not memory, is the bound."""
        return self.flops / self.bandwidth

    @property
    def _in_float32(self) -> int | float:
        return self.flops if self.float32_flops is None else self.float32_flops

    def at(self, dtype: str) -> "Accelerator":
        """Return the device at the rate of a dtype.

        Args:
            dtype: "bfloat16", whose rate is `flops`, or "float32".

        Raises:
            ValueError: for another one.
        """
        checks.choice("dtype", dtype, ("bfloat16", "float32"))
        return self if dtype == "bfloat16" else dataclasses.replace(self, flops=self._in_float32)

    def times(self, chips: int = 1, *, flops: int | float = 1.0, bandwidth: int | float = 1.0) -> "Accelerator":
        """Several of them, at the shares of their rates that are reached.

        What devices send to each other takes no time here.

        Args:
            chips: their number.
            flops: share of the operations per second, above 0.
            bandwidth: share of the bytes per second, above 0.

        Raises:
            ValueError: for numbers outside these ranges.
        """
        checks.integer("chips", chips, 1)
        positive(flops=flops, bandwidth=bandwidth)
        name = self.name if chips == 1 else f"{chips} × {self.name}"
        return dataclasses.replace(
            self,
            name=name,
            flops=self.flops * chips * flops,
            bandwidth=self.bandwidth * chips * bandwidth,
            memory=self.memory * chips,
            float32_flops=None if self.float32_flops is None else self.float32_flops * chips * flops,
        )


_BOOK = "Austin et al., How to Scale Your Model, 2025"
_SHEET = "NVIDIA's data sheet, without sparsity"

TPU_V5E = Accelerator(
    "TPU v5e",
    *(1.97e14, 8.19e11, 16e9),
    f"{_BOOK}, TPUs, which rounds the bandwidth to 8.1e11 and 8.2e11",
    kinds=("TPU v5 lite", "TPU v5e"),
)
TPU_V5P = Accelerator(
    "TPU v5p",
    *(4.59e14, 2.765e12, 95e9),
    f"{_BOOK}, TPUs; bandwidth and memory from Google's page (from memory)",
    kinds=("TPU v5", "TPU v5p"),
)
TPU_V6E = Accelerator(
    "TPU v6e",
    *(9.18e14, 1.64e12, 32e9),
    f"{_BOOK}, TPUs; last digits from Google's page (from memory)",
    kinds=("TPU v6 lite", "TPU v6e"),
)
A100 = Accelerator(
    "A100 SXM 80 GB", 3.12e14, 2.039e12, 80e9, f"{_SHEET} (from memory)", 1.56e14, ("NVIDIA A100-SXM4-80GB",)
)
H100 = Accelerator(
    "H100 SXM", 9.89e14, 3.35e12, 80e9, f"{_BOOK}, Rooflines; {_SHEET}", 4.95e14, ("NVIDIA H100 80GB HBM3",)
)
H100_PCIE = Accelerator("H100 PCIe", 7.56e14, 2.0e12, 80e9, f"{_SHEET} (from memory)", 3.78e14, ("NVIDIA H100 PCIe",))
H200 = Accelerator("H200 SXM", 9.89e14, 4.8e12, 141e9, f"{_SHEET} (from memory)", 4.95e14, ("NVIDIA H200",))
L40S = Accelerator("L40S", 3.62e14, 8.64e11, 48e9, f"{_SHEET} (from memory)", 1.83e14, ("NVIDIA L40S",))
L4 = Accelerator("L4", 1.21e14, 3.0e11, 24e9, f"{_SHEET} (from memory)", 6.05e13, ("NVIDIA L4",))
A10 = Accelerator("A10", 1.25e14, 6.0e11, 24e9, f"{_SHEET} (from memory)", 6.25e13, ("NVIDIA A10",))
RTX_4090 = Accelerator(
    "RTX 4090",
    *(1.65e14, 1.008e12, 24e9),
    "NVIDIA's Ada whitepaper, without sparsity, sums in float32 (from memory)",
    8.26e13,
    ("NVIDIA GeForce RTX 4090",),
)

PUBLISHED = (TPU_V5E, TPU_V5P, TPU_V6E, A100, H100, H100_PCIE, H200, L40S, L4, A10, RTX_4090)
"""Rates in bfloat16, as published: what a program reaches is less.

At JAX's default precision, GPUs multiply float32 as TF32, at half the rate, and TPUs as bfloat16, at the whole one
(from memory).
"""


def of_kind(kind: str) -> Accelerator | None:
    """Return the published accelerator that JAX calls `kind`, or None.

    The whole name must agree: variants of a card, such as those with other memory, have other rates.

    Args:
        kind: `jax.Device.device_kind`.
    """
    return next((each for each in PUBLISHED if kind in each.kinds), None)
