"""Every case by name, and how those are measured that are more than one duel."""

import dataclasses

from experiments.bench import (
    byte_lm,
    clips,
    cold_start,
    dcgan,
    device_cases,
    duel,
    image_networks,
    ppo,
    race,
    serve_load,
    single_calls,
)
from experiments.bench.config import Setting
from experiments.bench.duel import OURS
from experiments.bench.findings import Findings, Ratio
from experiments.bench.workloads import MODES, Case, Workload
from gendiff.core.errors import ConfigError
from gendiff.runs import errors
from gendiff.runs.reporting import processor


def chosen(all_cases: tuple[Case, ...], names: tuple[str, ...], device: str) -> list[Case]:
    """Those of these names, or all of the device, with the thresholds of this processor.

    Raises ConfigError with the nearest name for one that is not there.
    """
    there = {case.name: case for case in all_cases if case.device == device}
    if not there:
        raise ConfigError(f"this bench has no case on {device}: leave out --device")
    for name in names:
        if name not in there:
            raise ConfigError(f"no case of the bench on {device} is called {name!r}; {errors.hint(name, there)}")
    vendor, requested = processor.vendor(), [there[name] for name in names or there]
    return [dataclasses.replace(case, threshold=case.by_vendor.get(vendor, case.threshold)) for case in requested]


def _guidance(case: Case, setting: Setting) -> Findings:
    """Two duels, one for each way to guide, and the ratio between ours. Torch guides in two passes in its first mode
    alone.
    """

    def fight(passes: str, most: int) -> duel.Duel:
        workload = dataclasses.replace(case.workload, passes=passes)
        return duel.fight(dataclasses.replace(case, name=f"guidance_{passes}", workload=workload), setting, most)

    one, two = fight("batched", len(MODES)), fight("two", 1)
    gain, rounds = duel.ratio(two.seconds[OURS], one.seconds[OURS]), len(one.seconds[OURS])
    return Findings(
        (one, two), (Ratio("guidance_passes", "guidance: one batched pass over two passes, ours", gain, rounds),)
    )


GUIDED = Workload("sample", "digits", batch=64, steps=5, guidance=3.0)
GUIDANCE = "classifier-free guidance in one batched pass against two, digits network, batch 64"
OF_FAMILIES = (single_calls, image_networks, dcgan, byte_lm, ppo, clips, race, cold_start, serve_load, device_cases)
ALL = (
    *(case for family in OF_FAMILIES for case in family.CASES),
    Case("guidance", GUIDANCE, GUIDED, measure=_guidance),
)
