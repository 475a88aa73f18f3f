"""Models of today at full size: kernels of four bits are read and draw, and a step beside those in bfloat16, ours and
that of diffusers.
"""

import dataclasses
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import duel, stable_diffusion
from experiments.bench.config import Setting
from experiments.bench.duel import OURS
from experiments.bench.findings import Findings, Limit
from experiments.bench.side import SideProcess
from experiments.bench.stable_diffusion_cases import DIFFUSERS, GIBIBYTE, LONGEST, Opened
from experiments.bench.workloads import Case, Workload
from gendiff.runs.reporting.results import CellValue, Table

SIZES = (256, 512)
"""Pixels of a side."""
FOUR_BITS = "int4"
OURS_PACKED, OURS_HALF, REFERENCE = "ours, 4 bits", "ours, bfloat16", "diffusers, bfloat16"
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    OURS_PACKED: (OURS, {"storage": FOUR_BITS}),
    OURS_HALF: (OURS, {}),
    REFERENCE: (DIFFUSERS, {}),
}
"""How a step is done: the side, and what it is told."""
DRAWS = (
    *("pixels", "reading s", "first picture s", "of which compilation s", "second picture s", "peak memory GiB"),
    "of which after reading",
)
STEPS = ("a step", "pixels", "first s, compilation included", "seconds", "peak memory GiB", "differs by")


def full_size(case: Case, setting: Setting) -> Findings:
    """Pictures by a process that reads all parts in four bits, and steps of the network alone. One process follows the
    other: two in bfloat16 need not fit side by side. Nor need two folders.
    """
    opened = Opened(case, setting)
    try:
        return _measured(case, setting, opened)
    finally:
        shutil.rmtree(opened.folder, ignore_errors=True)


def relative(first: Path, second: Path) -> float:
    """The rms of the difference of two outputs over that of the second; infinite for what is not finite."""
    with np.load(first) as a, np.load(second) as b:
        one, two = a["output"].astype(np.float64), b["output"].astype(np.float64)
    if one.shape != two.shape or not (np.isfinite(one).all() and np.isfinite(two).all()):
        return float("inf")
    return float(np.sqrt(np.mean((one - two) ** 2) / np.mean(two**2)))


def _measured(case: Case, setting: Setting, opened: Opened) -> Findings:
    requests = {size: _request(opened, size) for size in SIZES}
    ways = [name for name, (side, _) in WAYS.items() if side in opened.sides]
    steps = list[tuple[Any, ...]]()
    for name in ways:
        with setting.start(WAYS[name][0]) as side:
            if name == OURS_PACKED:  # once, since it takes minutes to round as many kernels
                rows, peak = _draws(opened, side, requests)
                if not rows:
                    return Findings(failed={case.name: "a picture has no contrast or is not finite"})
            steps += _steps(opened, side, requests, name)
    limits = [Limit(case.name, f"{case.name}: reads and draws in at most this many GiB", peak, "four_bits_gib")]
    if ways[-1] == REFERENCE:
        differences = {
            (name, size): relative(*(_file(opened, each, size) for each in (name, REFERENCE)))
            for name in ways
            for size in SIZES
        }
        steps = [(*row[:-1], f"{differences[row[0], row[1]]:.1%}") for row in steps]
        most = max(differences[OURS_HALF, size] for size in SIZES)
        words = f"{case.name}: a step in bfloat16 differs from that of diffusers by this share"
        limits.append(Limit(f"{case.name}_step", words, most, "step_bfloat16"))
    title = f"{case.question}: a draw of one step with weights of 4 bits"
    tables = Table(title, DRAWS, tuple(rows)), Table(f"{case.question}: the network once", STEPS, tuple(steps))
    return Findings(limits=tuple(limits), tables=tables)


def _request(opened: Opened, size: int) -> dict[str, Any]:
    """What a side is told of work with pictures of one size."""
    workload = opened.setting.fitted(dataclasses.replace(opened.workload, size=size))
    return duel.request(workload, stable_diffusion.inputs(workload), opened.place, f"inputs_{size}", opened.folder)


def _draws(
    opened: Opened, side: SideProcess, requests: dict[int, dict[str, Any]]
) -> tuple[list[tuple[CellValue, ...]], float]:
    """(a row for each size, largest memory in GiB); no rows where a picture is none."""
    rows, peak = list[tuple[CellValue, ...]](), 0.0
    read = opened.ready(side, "load", storage=FOUR_BITS)
    for size in SIZES:
        file = opened.place / f"draw_{size}.npz"
        done = opened.ready(side, "draw", storage=FOUR_BITS, to=str(file), **requests[size])
        again, peak = side.ask("run", limit=LONGEST, name="draw"), done["peak_mib"] / GIBIBYTE
        with np.load(file) as stored:
            if not (np.isfinite(stored["output"]).all() and stored["output"].std() > 0):
                return [], peak
        seconds = read["first"], done["first"], done["first"] - again, again
        rows.append((size, *seconds, peak, read["peak_mib"] / GIBIBYTE))
    return rows, peak


def _steps(
    opened: Opened, side: SideProcess, requests: dict[int, dict[str, Any]], name: str
) -> Iterator[tuple[Any, ...]]:
    """A row for each size."""
    for size in SIZES:
        done = opened.ready(side, "step", to=str(_file(opened, name, size)), **requests[size], **WAYS[name][1])
        seconds = [side.ask("run", limit=LONGEST, name="step") for _ in range(opened.pairs)]
        yield name, size, done["first"], statistics.median(seconds), done["peak_mib"] / GIBIBYTE, None


def _file(opened: Opened, name: str, size: int) -> Path:
    return opened.place / f"{name}_{size}.npz"


KLEIN, Z_IMAGE = (Workload("folder", name, steps=1, dtype="bfloat16") for name in ("klein", "z_image"))
CASES = (
    Case("klein", "FLUX.2 [klein] 4B", KLEIN, pairs=1, measure=full_size),
    Case("z_image", "Z-Image-Turbo", Z_IMAGE, pairs=1, measure=full_size),
)
