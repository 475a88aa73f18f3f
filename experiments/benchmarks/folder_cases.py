"""The cases with folders of Stable Diffusion: their parts beside those of diffusers, whole draws, memory, and cold processes."""

import contextlib
import dataclasses
import functools
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from experiments.benchmarks import duel, findings
from experiments.benchmarks.config import Setting
from experiments.benchmarks.duel import OURS, Case
from experiments.benchmarks.findings import Findings, Limit, Ratio
from experiments.benchmarks.sd_settings import FOLDERS
from experiments.benchmarks.side_process import SideError, SideProcess
from experiments.benchmarks.workloads import Workload
from gendiff.runs import interleaving
from gendiff.runs.reporting.results import Cell, Table

FOLDER, DIFFUSERS = "folder", "diffusers"
"""The sides' names."""
PARTS = {"text": "text encoder", "encode": "encoder of pictures", "decode": "decoder", "step": "U-Net, two latents"}
GIBIBYTE, LONGEST = 1024.0, 1800.0
"""In MiB; seconds that a draw may take."""


def parts(case: Case, setting: Setting) -> Findings:
    """Each part on the same inputs: outputs compared, then both timed in turn; and what bfloat16 changes in the U-Net of ours."""
    if why := _absent(setting):
        return Findings(skipped={case.name: why})
    given, pairs = _arrays(case, setting), min(case.pairs, setting.config.pairs)
    rows, limits, ratios = list[tuple[Cell, ...]](), list[Limit](), list[Ratio]()
    with _opened(case, setting, FOLDER) as ours, _opened(case, setting, DIFFUSERS) as theirs:
        sides = {OURS: ours, DIFFUSERS: theirs}
        for kind, words in PARTS.items():
            if kind == "step":  # it has a case of its own; here it is compared alone
                pairs = 1
            apart = _compared(sides, kind, given, setting.folder)
            limits.append(Limit(f"{case.name}_{kind}", f"{words}: outputs differ by at most", apart, "agreement", 1))
            seconds = interleaving.interleave({name: functools.partial(side.ask, "run", name=kind) for name, side in sides.items()}, pairs)
            rows += [(words, name, *findings.spread(spent), f"{apart:.1e}") for name, spent in seconds.items()]
            if pairs > 1:
                ratio = duel.ratio(seconds[DIFFUSERS], seconds[OURS])
                ratios.append(Ratio(f"{case.name}_{kind}_time", f"{words}: time of diffusers, eager, over ours", ratio, pairs))
    with _opened(case, setting, FOLDER, "bfloat16") as half:
        half.ask("prepare", kind="step", arrays=str(given), name="step", limit=LONGEST)
        half.ask("output", name="step", to=str(setting.folder / "half_step.npz"), limit=LONGEST)
    apart = duel.difference(setting.folder / "half_step.npz", setting.folder / f"{OURS}_step.npz")
    rows.append((f"{PARTS['step']} in bfloat16, against float32", OURS, None, None, None, f"{apart:.1e}"))
    columns = ("part", "side", "median s", "least", "most", "outputs differ by")
    return Findings(ratios=tuple(ratios), limits=tuple(limits), tables=(Table("Parts of Stable Diffusion 1.5", columns, tuple(rows)),))


def steps(case: Case, setting: Setting) -> Findings:
    """A guided step, which is the U-Net on two latents: ours in turn with the fastest mode of diffusers.

    Memory is that of processes that do this alone.
    """
    given, pairs = _arrays(case, setting), min(case.pairs, setting.config.pairs)
    rows, peaks, failed = list[tuple[Cell, ...]](), dict[str, float](), dict[str, str]()
    with contextlib.ExitStack() as stack:
        rivals: dict[str, tuple[SideProcess, float]] = {}
        for mode in () if _absent(setting) else case.modes[: 1 if setting.config.tiny else None]:
            try:
                side = stack.enter_context(_opened(case, setting, DIFFUSERS))
                first = side.ask("prepare", kind="step", arrays=str(given), name="step", mode=mode)
                peaks[mode] = first["peak_mib"]
                rivals[mode] = side, side.ask("run", name="step")
            except SideError as error:
                failed[mode] = str(error)[:200]
                continue
            rows.append((f"diffusers {mode}", first["first"], rivals[mode][1], first["peak_mib"]))
        best = min(rivals, key=lambda mode: rivals[mode][1], default="")
        for mode, (side, _) in rivals.items():
            if mode != best:
                side.ask("forget")
        ours = stack.enter_context(_opened(case, setting, FOLDER))
        first = ours.ask("prepare", kind="step", arrays=str(given), name="step")
        calls = {OURS: functools.partial(ours.ask, "run", name="step")}
        if best:
            calls[best] = functools.partial(rivals[best][0].ask, "run", name="step")
        seconds = interleaving.interleave(calls, pairs)
    rows.insert(0, (OURS, first["first"], statistics.median(seconds[OURS]), first["peak_mib"]))
    rows += [(f"diffusers {mode}: {why}", None, None, None) for mode, why in failed.items()]
    columns = ("side", "first time s, compilation included", "seconds", "peak memory MiB")
    table = Table(f"A guided step at {FOLDERS[_name(case, setting)].size} pixels", columns, tuple(rows))
    if not best:
        return Findings(tables=(table,))
    fast = duel.ratio(seconds[best], seconds[OURS])
    memory = peaks["eager"] / first["peak_mib"]
    return Findings(
        ratios=(
            Ratio(case.name, f"{case.name}: time of diffusers, {best.replace('_', ' ')}, over ours", fast, pairs, "steps"),
            Ratio(f"{case.name}_memory", f"{case.name}: peak memory of diffusers, eager, over ours", (memory,) * 3, 1, "memory"),
        ),
        tables=(table,),
    )


def draw(case: Case, setting: Setting) -> Findings:
    """A whole guided draw from the same latents and prompts by both pipelines."""
    if why := _absent(setting):
        return Findings(skipped={case.name: why})
    given, workload = _arrays(case, setting), setting.fitted(case.workload)
    asked = {"arrays": str(given), "steps": workload.steps, "scale": workload.guidance}
    files, rows = {side: setting.folder / f"draw_{side}.npz" for side in (FOLDER, DIFFUSERS)}, list[tuple[Cell, ...]]()
    for side, file in files.items():
        with _opened(case, setting, side) as process:
            done = process.ask("draw", limit=LONGEST, to=str(file), **asked)
        rows.append((OURS if side == FOLDER else side, done["seconds"], done["peak_mib"]))
    apart = duel.difference(files[FOLDER], files[DIFFUSERS])
    words = f"{workload.steps} steps with guidance {workload.guidance:g}: pictures in [0, 1] differ by at most"
    columns = ("side", "seconds, reading and compilation included", "peak memory MiB")
    title = f"A draw of {workload.steps} steps with guidance at {FOLDERS[_name(case, setting)].size} pixels"
    return Findings(limits=(Limit(case.name, words, apart, "pictures", 1),), tables=(Table(title, columns, tuple(rows)),))


def loading(case: Case, setting: Setting) -> Findings:
    """Fresh processes that read all weights of the folder: seconds and peak memory."""
    pairs = min(case.pairs, setting.config.pairs)
    found: dict[str, list[dict[str, float]]] = {}

    def load(side: str) -> float:
        with _opened(case, setting, side) as process:
            found.setdefault(side, []).append(process.ask("load"))
        return found[side][-1]["seconds"]

    sides = (FOLDER,) if _absent(setting) else (FOLDER, DIFFUSERS)
    seconds = interleaving.interleave({side: functools.partial(load, side) for side in sides}, pairs)
    peaks = {side: max(each["peak_mib"] for each in every) for side, every in found.items()}
    rows = [(OURS if side == FOLDER else side, *findings.spread(spent), peaks[side]) for side, spent in seconds.items()]
    weights = sum(file.stat().st_size for file in _folder(case, setting).rglob("*.safetensors")) / 2**20
    table = Table(f"Reading {weights:,.0f} MiB of weights", ("side", "median s", "least", "most", "peak memory MiB"), tuple(rows))
    return Findings(tables=(table,))


def cold_start(case: Case, setting: Setting) -> Findings:
    """Cold processes until they have their first picture: ours with nothing compiled and compiled before, and diffusers, eager."""
    given, workload, cache = _arrays(case, setting), setting.fitted(case.workload), setting.folder / case.name / "compiled"
    pairs = min(case.pairs, setting.config.pairs)

    def first(side: str) -> float:
        begin = time.perf_counter()
        with _opened(case, setting, side, cache=str(cache)) as process:
            asked = {"steps": workload.steps, "scale": workload.guidance or 1.0}
            process.ask("prepare", limit=LONGEST, kind="draw", arrays=str(given), name="draw", **asked)
            return time.perf_counter() - begin

    def empty() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return first(FOLDER)

    calls: dict[str, Callable[[], float]] = {"ours, nothing compiled": empty, "ours, compiled before": functools.partial(first, FOLDER)}
    if not _absent(setting):
        calls["diffusers, eager"] = functools.partial(first, DIFFUSERS)
    seconds = interleaving.interleave(calls, pairs)  # what is compiled in the first call serves the second
    rows = tuple((name, *findings.spread(spent)) for name, spent in seconds.items())
    title = f"Seconds from a cold process to its first picture of {FOLDERS[_name(case, setting)].size} pixels, {workload.steps} steps"
    return Findings(tables=(Table(title, ("process", "median", "least", "most"), rows),))


def large(case: Case, setting: Setting) -> Findings:
    """Stable Diffusion XL in bfloat16: a process that reads it and draws, and the memory that this takes."""
    given, workload = _arrays(case, setting), setting.fitted(case.workload)
    with _opened(case, setting, FOLDER, "bfloat16") as process:
        read = process.ask("load", limit=LONGEST)
        asked = {"arrays": str(given), "steps": workload.steps, "scale": workload.guidance or 1.0}
        done = process.ask("draw", limit=LONGEST, to=str(setting.folder / "large.npz"), **asked)
        again = process.ask("run", limit=LONGEST, name="draw")
    with np.load(setting.folder / "large.npz") as stored:
        drawn = stored["output"]
    if not (np.isfinite(drawn).all() and drawn.std() > 0):
        return Findings(failed={case.name: "the picture has no contrast or is not finite"})
    peak = done["peak_mib"] / GIBIBYTE
    words = f"{case.name}: reads and draws in at most this many GiB"
    columns = ("reading s", "peak memory then, MiB", "first draw s, compilation included", "second draw s", "peak memory MiB")
    row = (read["seconds"], read["peak_mib"], done["seconds"], again, done["peak_mib"])
    title = f"Stable Diffusion XL in bfloat16, {workload.steps} steps at {FOLDERS[_name(case, setting)].size} pixels without guidance"
    return Findings(limits=(Limit(case.name, words, peak, "large_gib", 1),), tables=(Table(title, columns, (row,)),))


def _name(case: Case, setting: Setting) -> str:
    return setting.fitted(case.workload).network


def _absent(setting: Setting) -> str:
    return "" if setting.peer is not None else "it needs --peers"


def _folder(case: Case, setting: Setting) -> Path:
    """The folder of the case's settings, written by diffusers where it takes part; cases share it, in one dtype each."""
    name, dtype = _name(case, setting), case.workload.dtype
    place = setting.folder / f"{name}_{dtype}"
    if not place.exists():
        with setting.start(FOLDER if _absent(setting) else DIFFUSERS) as side:
            side.ask("write", limit=LONGEST, folder=str(place), settings=name, dtype=dtype)
    return place


@contextlib.contextmanager
def _opened(case: Case, setting: Setting, side: str, dtype: str = "float32", cache: str = "") -> Iterator[SideProcess]:
    """A process of a side that has opened the folder."""
    folder = _folder(case, setting)
    with setting.start(side, GENDIFF_COMPILE_CACHE=cache) as process:
        process.ask("open", folder=str(folder), settings=_name(case, setting), dtype=dtype)
        yield process


def _arrays(case: Case, setting: Setting) -> Path:
    """Inputs of all works, channels last: latents to begin from, a picture, and what the U-Net is given."""
    about, rng = FOLDERS[_name(case, setting)], np.random.default_rng(0)
    tokens, channels = about.text
    made = {
        "start": (1, *about.latent),
        "picture": (1, about.size, about.size, 3),
        "x": (2, *about.latent),
        "tokens": (2, tokens, channels),
    }
    file = setting.folder / f"{_name(case, setting)}.npz"
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in made.items()}
    np.savez(file, allow_pickle=False, **arrays, t=np.array([37, 981], np.float32))
    return file


def _compared(sides: Mapping[str, SideProcess], kind: str, given: Path, folder: Path) -> float:
    """How far outputs are apart, as `duel.difference` says; both sides are ready for the work afterwards."""
    files = {}
    for name, side in sides.items():
        side.ask("prepare", kind=kind, arrays=str(given), name=kind)
        files[name] = folder / f"{name}_{kind}.npz"
        side.ask("output", name=kind, to=str(files[name]))
    return duel.difference(files[OURS], files[DIFFUSERS])


_SD15 = Workload("folder", "sd15", steps=10, guidance=7.5)
ALL = (
    Case("sd_parts", "each part of Stable Diffusion 1.5 at 512×512", _SD15, pairs=3, measure=parts),
    Case("sd_step", "a guided step at 512×512", _SD15, "steps", memory=True, pairs=5, measure=steps),
    Case("sd_draw", "10 guided steps at 512×512 from the same latents", _SD15, measure=draw),
    Case("sd_load", "all weights read by a fresh process", _SD15, pairs=3, measure=loading),
    Case("sd_cold_start", "from a cold process to the first picture", dataclasses.replace(_SD15, steps=2), pairs=2, measure=cold_start),
    Case(
        "sdxl_bfloat16",
        "Stable Diffusion XL read and drawn with at 1024×1024",
        Workload("folder", "sdxl", steps=2, dtype="bfloat16"),
        measure=large,
    ),
)
