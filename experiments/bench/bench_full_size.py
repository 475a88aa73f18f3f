"""Do models of today draw at full size on two cores?

    make bench-full-size                            both environments, every case
    python -m experiments bench-full-size list      the cases

As in bench.py. Folders have the settings of FLUX.2 [klein] 4B and Z-Image-Turbo and random weights in bfloat16, which
take 20 GiB of the folder for temporary files, one after the other.
"""

import dataclasses

from experiments.bench import bench
from experiments.bench.config import FullSizeConfig
from experiments.bench.workloads import Case
from gendiff.runs.reporting.answers import Answer


@dataclasses.dataclass(frozen=True)
class FullSizeBenchOptions(bench.Asked, FullSizeConfig):
    """Measure models of today at full size. Without a CASE, all of them."""


def cases() -> tuple[Case, ...]:
    """Those at full size."""
    from experiments.bench import full_size

    return full_size.CASES


ANSWER = Answer(
    roles={"*_step": "check", "*_ran": "check", "*": "aim"},
    statements={"E9": "FLUX.2 [klein] 4B in 4 bits draws 512×512 pixels on two CPU cores in {klein:.1f} GiB"},
    text="with weights of 4 bits: FLUX.2 [klein] is read and draws 512×512 pixels in {klein:.1f} GiB, Z-Image-Turbo in "
    "{z_image:.1f} GiB",
)

EXPERIMENT = bench.bench(
    "bench-full-size",
    FullSizeConfig(),
    FullSizeConfig(cases=("klein",), pairs=2, call_seconds=0.02, tiny=True),
    FullSizeBenchOptions,
    cases,
    ANSWER,
)
