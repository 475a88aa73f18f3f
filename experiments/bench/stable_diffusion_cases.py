"""The cases with folders of Stable Diffusion: their parts beside those of diffusers, whole draws, memory, and cold
processes.
"""

import contextlib
import dataclasses
import functools
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import duel, random_folders, stable_diffusion
from experiments.bench.config import Setting
from experiments.bench.duel import OURS
from experiments.bench.findings import Findings, Limit, Ratio, spread
from experiments.bench.folder_settings import FOLDERS
from experiments.bench.side import SideError, SideProcess
from experiments.bench.workloads import Case, Workload
from gendiff.runs import paired_timing
from gendiff.runs.reporting.results import CellValue, Table

DIFFUSERS = "torch"
"""The side's name."""
PARTS = {"text": "text encoder", "encode": "encoder of pictures", "decode": "decoder", "step": "U-Net, two latents"}
GIBIBYTE, LONGEST = 1024.0, 1800.0
"""In MiB; seconds that a draw may take."""


class Opened:
    """A case in a setting: the folder of its settings, which cases share, in one dtype each, and its processes."""

    def __init__(self, case: Case, setting: Setting) -> None:
        self.workload, self.setting, self.pairs = setting.fitted(case.workload), setting, setting.pairs(case)
        self.place, self.size = setting.case_folder(case.name), FOLDERS[self.workload.network].size
        self.folder = setting.folder / f"{self.workload.network}_{self.workload.dtype}"
        random_folders.write(self.folder, self.workload.network, self.workload.dtype)
        self.told = duel.request(
            self.workload, stable_diffusion.inputs(self.workload), self.place, "inputs", self.folder
        )
        self.sides = (OURS,) if setting.peer is None else (OURS, DIFFUSERS)

    def ready(self, side: SideProcess, part: str, **more: Any) -> dict[str, float]:
        """Makes a part of a side ready, under its name."""
        return side.ask("prepare", limit=LONGEST, name=part, part=part, **self.told | more)

    def compared(self, sides: dict[str, SideProcess], part: str) -> float:
        """How far outputs are apart, as `duel.difference` says; the sides are ready for the work afterwards."""
        files = {name: self.place / f"{name}_{part}.npz" for name in sides}
        for name, side in sides.items():
            self.ready(side, part, to=str(files[name]))
        return duel.difference(*files.values())


def parts(case: Case, setting: Setting) -> Findings:
    """Each part on the same inputs: outputs compared, then both timed in turn; and what bfloat16 changes in the U-Net
    of ours.
    """
    if setting.peer is None:
        return Findings(skipped={case.name: "it needs --peers"})
    opened, rows, limits, ratios = Opened(case, setting), list[tuple[CellValue, ...]](), list[Limit](), list[Ratio]()
    with contextlib.ExitStack() as stack:
        sides = {name: stack.enter_context(setting.start(name)) for name in opened.sides}
        for part, words in PARTS.items():
            difference = opened.compared(sides, part)
            pairs = 1 if part == "step" else opened.pairs  # it has a case of its own; here it is compared alone
            limits.append(Limit(f"{case.name}_{part}", f"{words}: outputs differ by at most", difference, "agreement"))
            seconds = paired_timing.interleave(
                {name: functools.partial(side.ask, "run", name=part) for name, side in sides.items()}, pairs
            )
            rows += [(words, _called(name), *spread(spent), f"{difference:.1e}") for name, spent in seconds.items()]
            if pairs > 1:
                ratio = duel.ratio(seconds[DIFFUSERS], seconds[OURS])
                ratios.append(
                    Ratio(f"{case.name}_{part}_time", f"{words}: time of diffusers, eager, over ours", ratio, pairs)
                )
    half, workload = (
        opened.place / "half_step.npz",
        dataclasses.asdict(dataclasses.replace(opened.workload, dtype="bfloat16")),
    )
    with setting.start(OURS) as side:
        opened.ready(side, "step", workload=workload, to=str(half))
    difference = duel.difference(half, opened.place / f"{OURS}_step.npz")
    rows.append((f"{PARTS['step']} in bfloat16, against float32", OURS, None, None, None, f"{difference:.1e}"))
    columns = ("part", "side", "median s", "least", "most", "outputs differ by")
    return Findings(
        ratios=tuple(ratios),
        limits=tuple(limits),
        tables=(Table("Parts of Stable Diffusion 1.5", columns, tuple(rows)),),
    )


def steps(case: Case, setting: Setting) -> Findings:
    """A guided step, which is the U-Net on two latents: ours in turn with the fastest mode of diffusers.

    Memory is that of processes that do this alone.
    """
    opened, rows, tried, failed = (
        Opened(case, setting),
        list[tuple[CellValue, ...]](),
        dict[str, float](),
        list[tuple[CellValue, ...]](),
    )
    peaks = dict[str, float]()
    for mode in () if setting.peer is None else case.modes[: 1 if setting.config.tiny else None]:
        try:
            with setting.start(DIFFUSERS) as side:
                first = opened.ready(side, "step", mode=mode)
                tried[mode], peaks[mode] = side.ask("run", name="step"), first["peak_mib"]
        except SideError as error:
            failed.append((f"diffusers {mode}: {str(error)[:200]}", None, None, None))
            continue
        rows.append((f"diffusers {mode}", first["first"], tried[mode], first["peak_mib"]))
    best = min(tried, key=lambda mode: tried[mode], default="")
    with contextlib.ExitStack() as stack:
        calls = dict[str, Callable[[], float]]()
        for name, mode in {OURS: "", best: best}.items() if best else [(OURS, "")]:
            side = stack.enter_context(setting.start(DIFFUSERS if mode else OURS))
            first_of = opened.ready(side, "step", mode=mode)
            first = first if mode else first_of
            calls[name] = functools.partial(side.ask, "run", name="step")
        seconds = paired_timing.interleave(calls, opened.pairs)
    rows.insert(0, (OURS, first["first"], statistics.median(seconds[OURS]), first["peak_mib"]))
    columns = ("side", "first time s, compilation included", "seconds", "peak memory MiB")
    table = Table(f"A guided step at {opened.size} pixels", columns, (*rows, *failed))
    if not best:
        return Findings(tables=(table,))
    fast, memory = duel.ratio(seconds[best], seconds[OURS]), (peaks["eager"] / first["peak_mib"],) * 3
    words = f"{case.name}: time of diffusers, {best.replace('_', ' ')}, over ours"
    ratios = (
        Ratio(case.name, words, fast, opened.pairs, "steps"),
        Ratio(f"{case.name}_memory", f"{case.name}: peak memory of diffusers, eager, over ours", memory, 1, "memory"),
    )
    return Findings(ratios=ratios, tables=(table,))


def draw(case: Case, setting: Setting) -> Findings:
    """A whole guided draw from the same latents and prompts by both pipelines."""
    if setting.peer is None:
        return Findings(skipped={case.name: "it needs --peers"})
    opened, files, rows = Opened(case, setting), list[Path](), list[tuple[CellValue, ...]]()
    for name in opened.sides:
        files.append(opened.place / f"{name}.npz")
        with setting.start(name) as side:
            done = opened.ready(side, "draw", to=str(files[-1]))
        rows.append((_called(name), done["first"], done["peak_mib"]))
    count, guidance = opened.workload.steps, opened.workload.guidance
    words = f"{count} steps with guidance {guidance:g}: pictures in [0, 1] differ by at most"
    columns = ("side", "seconds, reading and compilation included", "peak memory MiB")
    table = Table(f"A draw of {count} steps with guidance at {opened.size} pixels", columns, tuple(rows))
    return Findings(limits=(Limit(case.name, words, duel.difference(*files), "pictures"),), tables=(table,))


def loading(case: Case, setting: Setting) -> Findings:
    """Fresh processes that read all weights of the folder: seconds and peak memory."""
    opened, peaks = Opened(case, setting), dict[str, float]()

    def load(name: str) -> float:
        with setting.start(name) as side:
            done = opened.ready(side, "load")
        peaks[name] = max(peaks.get(name, 0.0), done["peak_mib"])
        return done["first"]

    seconds = paired_timing.interleave({name: functools.partial(load, name) for name in opened.sides}, opened.pairs)
    rows = tuple((_called(name), *spread(spent), peaks[name]) for name, spent in seconds.items())
    size = sum(file.stat().st_size for file in opened.folder.rglob("*.safetensors")) / 2**20
    return Findings(
        tables=(
            Table(
                f"Reading {size:,.0f} MiB of weights", ("side", "median s", "least", "most", "peak memory MiB"), rows
            ),
        )
    )


def cold_start(case: Case, setting: Setting) -> Findings:
    """Cold processes until they have their first picture: ours with nothing compiled and compiled before, and
    diffusers, eager.
    """
    opened = Opened(case, setting)
    cache = opened.place / "compiled"

    def first(name: str) -> float:
        begin = time.perf_counter()
        with setting.start(name, GENDIFF_COMPILE_CACHE=str(cache)) as side:
            opened.ready(side, "draw")
            return time.perf_counter() - begin

    def empty() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return first(OURS)

    calls: dict[str, Callable[[], float]] = {
        "ours, nothing compiled": empty,
        "ours, compiled before": functools.partial(first, OURS),
    }
    if setting.peer is not None:
        calls["diffusers, eager"] = functools.partial(first, DIFFUSERS)
    seconds = paired_timing.interleave(calls, opened.pairs)  # what is compiled in the first call serves the second
    rows = tuple((name, *spread(spent)) for name, spent in seconds.items())
    title = f"Seconds from a cold process to its first picture of {opened.size} pixels, {opened.workload.steps} steps"
    return Findings(tables=(Table(title, ("process", "median", "least", "most"), rows),))


def large(case: Case, setting: Setting) -> Findings:
    """Stable Diffusion XL in bfloat16: a process that reads it and draws, and the memory that this takes."""
    opened = Opened(case, setting)
    file = opened.place / "large.npz"
    with setting.start(OURS) as side:
        read, done = opened.ready(side, "load"), opened.ready(side, "draw", to=str(file))
        again = side.ask("run", limit=LONGEST, name="draw")
    with np.load(file) as stored:
        if not (np.isfinite(stored["output"]).all() and stored["output"].std() > 0):
            return Findings(failed={case.name: "the picture has no contrast or is not finite"})
    words, peak = f"{case.name}: reads and draws in at most this many GiB", done["peak_mib"] / GIBIBYTE
    columns = (
        "reading s",
        "peak memory then, MiB",
        "first draw s, compilation included",
        "second draw s",
        "peak memory MiB",
    )
    title = f"Stable Diffusion XL in bfloat16, {opened.workload.steps} steps at {opened.size} pixels without guidance"
    table = Table(title, columns, ((read["first"], read["peak_mib"], done["first"], again, done["peak_mib"]),))
    return Findings(limits=(Limit(case.name, words, peak, "large_gib"),), tables=(table,))


def _called(side: str) -> str:
    return OURS if side == OURS else "diffusers"


SD15, XL = Workload("folder", "sd15", steps=10, guidance=7.5), Workload("folder", "sdxl", steps=2, dtype="bfloat16")
ALL = (
    Case("sd_parts", "each part of Stable Diffusion 1.5 at 512×512", SD15, pairs=3, measure=parts),
    Case("sd_step", "a guided step at 512×512", SD15, "steps", memory=True, pairs=5, measure=steps),
    Case("sd_draw", "10 guided steps at 512×512 from the same latents", SD15, measure=draw),
    Case("sd_load", "all weights read by a fresh process", SD15, pairs=3, measure=loading),
    Case(
        "sd_cold_start",
        "from a cold process to the first picture",
        dataclasses.replace(SD15, steps=2),
        pairs=2,
        measure=cold_start,
    ),
    Case("sdxl_bfloat16", "Stable Diffusion XL read and drawn with at 1024×1024", XL, measure=large),
)
