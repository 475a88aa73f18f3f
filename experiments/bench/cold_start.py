"""Cold processes until they have their first image or token: imports, weights, tracing and compilation all count."""

import functools
import shutil
import time

from experiments.bench import duel, findings, smollm2, weights
from experiments.bench.config import Setting
from experiments.bench.duel import OURS
from experiments.bench.findings import Findings, Ratio
from experiments.bench.workloads import LANGUAGE, Case, Workload
from gendiff.runs import paired_timing
from gendiff.runs.reporting.results import Table
from gendiff.weights import smollm2 as real

EMPTIED = 3
"""How often ours begins with nothing compiled, at most."""
FILE, THEIRS = "file", "torch"


def measure(case: Case, setting: Setting) -> Findings:
    """Pairs of cold processes, ours with its programs compiled before; ours with an empty compile cache, beside.

    Ours also opens a language model from the GGUF file that pip brings, where its weights are packed.
    """
    workload, working, pairs = setting.fitted(case.workload), setting.case_folder(case.name), setting.pairs(case)
    cache, folder = working / "compiled", weights.folder(workload, setting.folder)
    arguments = duel.request(workload, workload.family.inputs(workload), working, "inputs", folder)

    def cold(side: str, **arrays: str) -> float:
        begin = time.perf_counter()
        with setting.start(THEIRS if side == THEIRS else OURS, GENDIFF_COMPILE_CACHE=str(cache)) as process:
            process.ask("prepare", name=side, **arguments | arrays)
            seconds = time.perf_counter() - begin
            process.ask("output", to=str(working / f"{side}.npz"), name=side)
        return seconds

    def empty() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return cold(OURS)

    without = [empty() for _ in range(min(EMPTIED, pairs))]
    sides = {OURS: "ours, compiled before"} | ({} if setting.peer is None else {THEIRS: "torch, eager"})
    calls = {side: functools.partial(cold, side) for side in sides}
    if workload.network == "smollm2":
        sides[FILE], calls[FILE] = (
            "ours, compiled before, from its GGUF file",
            functools.partial(cold, FILE, weights=str(real.path())),
        )
    seconds = paired_timing.interleave(calls, pairs)
    rows = [(name, *findings.spread(seconds[side])) for side, name in sides.items()]
    rows.insert(1, ("ours, nothing compiled", *findings.spread(without)))
    what = "token" if workload.kind in LANGUAGE else "image"
    title = f"Seconds from a cold process to its first {what} ({workload.network}, {_size(workload)})"
    table = Table(title, ("process", "median", "least", "most"), tuple(rows))
    if setting.peer is None:
        return Findings(tables=(table,))
    if not duel.difference(working / "ours.npz", working / f"{THEIRS}.npz") <= setting.config.thresholds.agreement:
        return Findings(failed={case.name: f"the two {what}s differ"})
    statement = f"{case.name}: torch's time to a first {what} over ours, compiled before"
    ratio = Ratio(case.name, statement, duel.ratio(seconds[THEIRS], seconds[OURS]), pairs, case.threshold)
    return Findings(ratios=(ratio,), tables=(table,))


def _size(workload: Workload) -> str:
    return f"{workload.tokens} tokens read" if workload.kind in LANGUAGE else f"{workload.steps} steps, batch 1"


FIRST = Workload("generate", "smollm2", tokens=32)
TOKEN = Case(
    "lm_cold_start",
    "from a cold process to the first token behind 32",
    FIRST,
    measure=measure,
    pairs=3,
    absent=smollm2.absent,
)
IMAGE = "from a cold process to its first image, U-Net 32×32, 20 steps"
CASES = (Case("cold_start", IMAGE, Workload("sample", "unet32", steps=20), "cold_start", measure=measure, pairs=5),)
