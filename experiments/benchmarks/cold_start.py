"""Cold processes until they have their first image or token: imports, weights, tracing and compilation all count."""

import functools
import shutil
import time
from pathlib import Path

from experiments.benchmarks import duel, findings, ours, workloads
from experiments.benchmarks.config import Setting
from experiments.benchmarks.duel import OURS, Case
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.workloads import LANGUAGE, Workload
from gendiff.runs import interleaving
from gendiff.runs.reporting.results import Table
from gendiff.weights import smollm2

EMPTIED = 3
"""How often ours begins with nothing compiled, at most."""
FILE = "file"


def measure(case: Case, setting: Setting) -> Findings:
    """Pairs of cold processes, ours with its programs compiled before; ours with an empty compile cache, beside.

    Ours also opens a language model from the GGUF file that pip brings, where its weights are packed.
    """
    workload, place, pairs = setting.fitted(case.workload), setting.folder / case.name, min(case.pairs, setting.config.pairs)
    place.mkdir()
    cache, weights = place / "compiled", duel.weights_of(workload, place, setting)
    assert weights is not None
    if not weights.exists():
        ours.write_weights(workload, weights)
    request = workloads.request(workload, place, weights=weights)

    def cold(side: str, given: Path = weights) -> float:
        own = side != "torch"
        begin = time.perf_counter()
        with setting.start(OURS if own else side, GENDIFF_COMPILE_CACHE=str(cache)) as process:
            process.ask("prepare", **request | {"weights": str(given)})
            if not own:
                process.ask("mode", name="eager")
            seconds = time.perf_counter() - begin
            process.ask("output", to=str(place / f"{side}.npz"), name=OURS if own else "eager")
        return seconds

    def empty() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return cold(OURS)

    without = [empty() for _ in range(min(EMPTIED, pairs))]
    sides = {OURS: "ours, compiled before"} | ({} if setting.peer is None else {"torch": "torch, eager"})
    calls = {side: functools.partial(cold, side) for side in sides}
    if workload.network == "smollm2":
        sides[FILE], calls[FILE] = "ours, compiled before, from its GGUF file", functools.partial(cold, FILE, smollm2.path())
    seconds = interleaving.interleave(calls, pairs)
    rows = [(name, *findings.spread(seconds[side])) for side, name in sides.items()]
    rows.insert(1, ("ours, nothing compiled", *findings.spread(without)))
    what = "token" if workload.kind in LANGUAGE else "image"
    title = f"Seconds from a cold process to its first {what} ({workload.network}, {_size(workload)})"
    table = Table(title, ("process", "median", "least", "most"), tuple(rows))
    if setting.peer is None:
        return Findings(tables=(table,))
    if not duel.difference(place / "ours.npz", place / "torch.npz") <= setting.config.thresholds.agreement:
        return Findings(failed={case.name: f"the two {what}s differ"})
    statement = f"{case.name}: torch's time to a first {what} over ours, compiled before"
    ratio = Ratio(case.name, statement, duel.ratio(seconds["torch"], seconds[OURS]), pairs, case.threshold)
    return Findings(ratios=(ratio,), tables=(table,))


def _size(workload: Workload) -> str:
    return f"{workload.tokens} tokens read" if workload.kind in LANGUAGE else f"{workload.steps} steps, batch 1"
