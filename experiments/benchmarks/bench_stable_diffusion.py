"""Is Stable Diffusion here what it is in diffusers, and as fast?

    make bench-stable-diffusion                          both environments, every case
    python -m experiments bench-stable-diffusion list    the cases

As in bench.py. Folders have the settings of Stable Diffusion 1.5 and XL, and random weights that diffusers writes; they take 11 GiB of the
folder for temporary files. Both sides draw from the same latents, with steps, levels and reading of prompts as in diffusers.
"""

import dataclasses

from experiments.benchmarks import bench, folder_cases
from experiments.benchmarks.config import FolderConfig


@dataclasses.dataclass(frozen=True)
class FolderBenchOptions(bench.Asked, FolderConfig):
    """Measure Stable Diffusion at full size. Without a CASE, all of them."""


EXPERIMENT = bench.bench(
    "bench-stable-diffusion",
    "Is Stable Diffusion here what it is in diffusers, and as fast?",
    FolderConfig(),
    FolderConfig(cases=("sd_step",), pairs=2, call_seconds=0.02, tiny=True),
    FolderBenchOptions,
    folder_cases.ALL,
)
