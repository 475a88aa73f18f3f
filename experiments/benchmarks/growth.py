"""How the time grows: with batch, steps, resolution, parameters, and when a CPU is split into several devices."""

import dataclasses
import os
import statistics

from experiments.benchmarks import inputs, pairs, side_process
from experiments.benchmarks.config import Setting
from experiments.benchmarks.findings import Findings
from experiments.benchmarks.side_process import SideProcess
from experiments.benchmarks.workloads import Workload
from experiments.reporting.results import Cell, Table

BASE = Workload("sample", "digits", batch=16, steps=5)
REPEATS = 5
_FLAG = "--xla_force_host_platform_device_count"


def measure(setting: Setting) -> Findings:
    """The exponent of time by each quantity: 1 is linear, 0 is no growth. Every point is 5 timed calls of the digits network."""
    tiny = setting.config.tiny
    base = dataclasses.replace(BASE, network="tiny_digits", batch=4, steps=2) if tiny else BASE
    names = ("tiny_digits", "tiny_digits") if tiny else ("digits_half", "digits", "digits_double", "digits_fourfold")
    sweeps = {
        "batch": [dataclasses.replace(base, batch=batch) for batch in ((1, 4) if tiny else (1, 4, 16, 64, 256))],
        "steps": [dataclasses.replace(base, steps=steps) for steps in ((2, 4) if tiny else (5, 10, 20, 40))],
        "pixels": [dataclasses.replace(base, size=size, batch=4) for size in ((8, 16) if tiny else (8, 16, 32, 64))],
        "parameters": [dataclasses.replace(base, network=name) for name in names],
    }
    rows: list[tuple[Cell, ...]] = []
    points: list[tuple[Cell, ...]] = []
    with side_process.start(side_process.OURS, variables=setting.variables) as ours:
        for quantity, workloads in sweeps.items():
            timed = [_time(setting, ours, f"{quantity}_{number}", each) for number, each in enumerate(workloads)]
            sizes = [_size(quantity, each, parameters) for each, (parameters, _) in zip(workloads, timed, strict=True)]
            points += [(quantity, size, *_spread(seconds)) for size, (_, seconds) in zip(sizes, timed, strict=True)]
            if len(set(sizes)) > 1:
                slope = pairs.exponent(sizes, [seconds for _, seconds in timed])
                rows.append((quantity, f"{sizes[0]:g} … {sizes[-1]:g}", slope.number))
    counts = (1, 2) if tiny else (1, 2, 4)
    split = []
    for count in counts:
        flags = " ".join([*os.environ.get("XLA_FLAGS", "").split(), f"{_FLAG}={count}"])
        with side_process.start(side_process.OURS, variables=setting.variables | {"XLA_FLAGS": flags}) as ours:
            split.append(_time(setting, ours, f"devices_{count}", dataclasses.replace(base, batch=4 if tiny else 64))[1])
    points += [("devices", count, *_spread(seconds)) for count, seconds in zip(counts, split, strict=True)]
    slope = pairs.exponent(counts, split)
    rows.append(("devices of one CPU", f"{counts[0]} … {counts[-1]}", slope.number))
    exponents = Table(
        "Growth of the time to sample with the digits network (1 is linear)", ("quantity", "from … to", "exponent"), tuple(rows)
    )
    return Findings(tables=(exponents, Table("Points of the growth", ("quantity", "value", "median s", "least", "most"), tuple(points))))


def _time(setting: Setting, ours: SideProcess, name: str, workload: Workload) -> tuple[float, tuple[float, ...]]:
    """(parameters, seconds of each repeat)."""
    arrays = inputs.write(workload, setting.folder / f"{name}.npz")
    prepared = ours.ask("prepare", workload=workload.as_json(), arrays=str(arrays), name=name)
    once = ours.ask("run", name=name)
    repeats = max(1, round(0.2 * setting.config.call_seconds / once))
    return prepared["parameters"], tuple(ours.ask("run", name=name, repeats=repeats) / repeats for _ in range(REPEATS))


def _size(quantity: str, workload: Workload, parameters: float) -> float:
    return {"batch": workload.batch, "steps": workload.steps, "pixels": workload.shape[0] ** 2, "parameters": parameters}[quantity]


def _spread(seconds: tuple[float, ...]) -> tuple[float, float, float]:
    return statistics.median(seconds), min(seconds), max(seconds)
