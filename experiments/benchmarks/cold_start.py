"""From starting a process to its first image: imports, weights, tracing and compilation all count."""

import shutil
import statistics
import time
from collections.abc import Sequence

from experiments.benchmarks import inputs, ours_work, pairs, side_process
from experiments.benchmarks.config import Setting
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.side_process import SideProcess
from experiments.benchmarks.workloads import Workload
from experiments.reporting.results import Table

WORKLOAD = Workload("sample", "unet32", batch=1, steps=20)
PEER = "experiments.benchmarks.peers.first_image"


def measure(setting: Setting) -> Findings:
    """Pairs of cold processes, ours with its programs compiled before; ours with an empty compile cache, beside."""
    workload = Workload("sample", "tiny_unet", batch=1, steps=3) if setting.config.tiny else WORKLOAD
    place = setting.folder / "cold_start"
    place.mkdir()
    arrays, cache, weights = inputs.write(workload, place / "inputs.npz"), place / "compiled", place / "weights"
    ours_work.write_weights(workload, weights)

    def ours() -> float:
        begin = time.perf_counter()
        variables = setting.variables | {"GENDIFF_COMPILE_CACHE": str(cache)}
        with side_process.start(side_process.OURS, variables=variables) as process:
            process.ask("prepare", workload=workload.as_json(), arrays=str(arrays), weights=str(weights))
            seconds = time.perf_counter() - begin
            process.ask("output", to=str(place / "ours.npz"))
        return seconds

    def theirs() -> float:
        begin = time.perf_counter()
        words = [str(setting.peer), "-m", PEER, str(arrays), str(workload.steps), str(weights), str(place / "theirs.npz")]
        with SideProcess(words, setting.variables, "first_image") as process:
            process.ask("first")
            return time.perf_counter() - begin

    without = []
    for _ in range(min(3, setting.config.pairs)):
        shutil.rmtree(cache, ignore_errors=True)
        without.append(ours())
    seconds = pairs.interleave({"ours": ours} | ({} if setting.peer is None else {"peer": theirs}), setting.config.pairs)
    rows = [_row("ours, compiled before", seconds["ours"]), _row("ours, nothing compiled", without)]
    ratios = []
    if "peer" in seconds:
        rows += [_row("torch, eager", seconds["peer"])]
        if inputs.difference(place / "ours.npz", place / "theirs.npz") > setting.config.thresholds.agreement:
            return Findings(failed={"cold_start": "the two images differ"})
        statement = "cold_start: torch's time to a first image over ours, compiled before"
        ratios = [Ratio("cold_start", statement, pairs.ratio(seconds["peer"], seconds["ours"]), setting.config.pairs, "cold_start")]
    title = f"Seconds from a cold process to its first image ({workload.network}, {workload.steps} steps, batch 1)"
    return Findings(ratios=tuple(ratios), tables=(Table(title, ("process", "median", "least", "most"), tuple(rows)),))


def _row(process: str, seconds: Sequence[float]) -> tuple[str, float, float, float]:
    return process, statistics.median(seconds), min(seconds), max(seconds)
