"""Every case by name, and how those are measured that are more than one duel."""

import dataclasses
import os
from typing import Any

from experiments.bench import (
    byte_lm,
    clips,
    cold_start,
    dcgan,
    device_cases,
    duel,
    findings,
    image_networks,
    ppo,
    race,
    serve_load,
    single_calls,
    weights,
)
from experiments.bench.config import Setting
from experiments.bench.duel import OURS
from experiments.bench.findings import Findings, Ratio
from experiments.bench.side import SideProcess
from experiments.bench.workloads import DEPTHS, MODES, Case, Workload
from gendiff import networks
from gendiff.core.errors import ConfigError
from gendiff.runs import errors
from gendiff.runs.reporting import processor
from gendiff.runs.reporting.results import Table


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


def _growth(case: Case, setting: Setting) -> Findings:
    """The exponent of time by each quantity: 1 is linear, 0 is no growth. Every point is 5 timed calls of the digits
    network.
    """
    base = setting.fitted(case.workload)
    by_width = [dataclasses.replace(base, network=f"digits{width}") for width in ("_half", "", "_double", "_fourfold")]
    sweeps: dict[str, dict[int, Workload]] = {
        "batch": {batch: dataclasses.replace(base, batch=batch) for batch in (1, 4, 16, 64, 256)},
        "steps": {steps: dataclasses.replace(base, steps=steps) for steps in (5, 10, 20, 40)},
        "pixels": {size**2: dataclasses.replace(base, size=size, batch=4) for size in (8, 16, 32, 64)},
        "parameters": {networks.count(weights.shapes(each)): each for each in by_width},
    }
    most = 2 if setting.config.tiny else None

    def time_of(side: SideProcess, name: str, workload: Workload) -> tuple[float, ...]:
        side.ask("prepare", name=name, **duel.request(workload, workload.family.inputs(workload), setting.folder, name))
        repeats = max(1, round(0.2 * setting.config.call_seconds / side.ask("run", name=name)))
        return tuple(side.ask("run", name=name, repeats=repeats) / repeats for _ in range(5))

    with setting.start(OURS) as side:
        timed = {
            quantity: {size: time_of(side, f"{quantity}_{size}", each) for size, each in list(sizes.items())[:most]}
            for quantity, sizes in sweeps.items()
        }
    timed["devices of one CPU"] = {}
    for count in (1, 2, 4, 8)[:most]:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}".strip()
        with setting.start(OURS, XLA_FLAGS=flags) as side:
            workload = dataclasses.replace(base, batch=4 if setting.config.tiny else 64)
            timed["devices of one CPU"][count] = time_of(side, f"devices_{count}", workload)
    timed["layers, compilation"] = _compilations(setting, DEPTHS[:most])
    points = (
        (name, size, *findings.spread(seconds)) for name, sizes in timed.items() for size, seconds in sizes.items()
    )
    slopes = (
        (name, f"{min(by_size):g} … {max(by_size):g}", duel.exponent(list(by_size), list(by_size.values())))
        for name, by_size in timed.items()
    )
    title = "Growth of the time to sample with the digits network, and to compile a DiT (1 is linear)"
    exponents = Table(title, ("quantity", "from … to", "exponent"), tuple(slopes))
    return Findings(
        tables=(
            exponents,
            Table("Points of the growth", ("quantity", "value", "median s", "least", "most"), tuple(points)),
        )
    )


def _compilations(setting: Setting, depths: tuple[int, ...]) -> dict[int, tuple[float, ...]]:
    """Seconds until a step of DDIM of a DiT of so many layers has run for the first time, in 3 processes that have
    compiled one before.
    """
    requests = dict[int, Any]()
    for depth in depths:
        workload = Workload("sample", f"dit_deep{depth}")
        folder, arguments = weights.folder(workload, setting.folder), workload.family.inputs(workload)
        requests[depth] = duel.request(workload, arguments, setting.folder, f"{workload.network}_inputs", folder)
    seconds: dict[int, list[float]] = {depth: [] for depth in depths}
    for _ in range(3):
        with setting.start(OURS) as side:
            side.ask("prepare", name="warmed", **requests[depths[0]])
            for depth in depths:
                seconds[depth].append(side.ask("prepare", name=f"depth_{depth}", **requests[depth])["first"])
    return {depth: tuple(spent) for depth, spent in seconds.items()}


GUIDED = Workload("sample", "digits", batch=64, steps=5, guidance=3.0)
GROWN = Workload("sample", "digits", batch=16, steps=5)
GROWTH = "time by batch, steps, resolution, parameters and devices (ours alone), and of compiling by depth"
GUIDANCE = "classifier-free guidance in one batched pass against two, digits network, batch 64"
OF_FAMILIES = (single_calls, image_networks, dcgan, byte_lm, ppo, clips, race, cold_start, serve_load, device_cases)
ALL = (
    *(case for family in OF_FAMILIES for case in family.CASES),
    Case("guidance", GUIDANCE, GUIDED, measure=_guidance),
    Case("growth", GROWTH, GROWN, measure=_growth),
)
