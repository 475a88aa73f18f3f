"""The machine's limits: the peak of a GPU by its data sheet. The rate of matrix products is measured in every duel."""

import functools
import shutil
import subprocess

PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
}
"""FLOP/s of dense bfloat16 products by the vendor's data sheets; the first name that occurs in the device's counts."""


def peak_of(device: str) -> float | None:
    """FLOP/s of a device by name; None for one that is not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


@functools.cache
def gpu_name() -> str:
    """The first GPU's name as its driver tells it; "" without one. The bench itself holds no GPU."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return (ran.stdout.splitlines() or [""])[0].strip() if ran.returncode == 0 else ""


def peak_flops() -> float | None:
    """FLOP/s of the first GPU; None where it is unknown."""
    return peak_of(gpu_name())
