"""From starting a process to its first image: imports, weights, tracing and compilation all count."""

import shutil
import statistics
import sys
import time
from pathlib import Path

from experiments.benchmarks import inputs, pairs, side_process
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.setting import Setting
from experiments.benchmarks.side_process import SideProcess
from experiments.benchmarks.workloads import Workload
from experiments.reporting.results import Table

WORKLOAD = Workload("sample", "unet32", batch=1, steps=20)
OURS = "experiments.benchmarks.first_image"
PEER = "experiments.benchmarks.peers.first_image"


def measure(setting: Setting) -> Findings:
    """Pairs of cold processes, ours with its programs compiled before; ours with an empty compile cache, beside."""
    workload = Workload("sample", "tiny_unet", batch=1, steps=3) if setting.config.tiny else WORKLOAD
    place = setting.folder / "cold_start"
    place.mkdir()
    arrays, cache, weights = inputs.write(workload, place / "inputs.npz"), place / "compiled", place / "weights"
    given = [str(arrays), str(workload.steps)]
    network = workload.network

    def ours() -> float:
        return _seconds(setting, sys.executable, [OURS, *given, network, weight, str(place / "ours.npz")], cache)

    weight = ""
    if setting.peer is not None:
        with side_process.start(side_process.PEER, setting.peer, setting.variables) as peer:
            peer.ask("prepare", workload=workload.as_json(), arrays=str(arrays), weights=str(weights))
        weight = str(weights)
    without = []
    for _ in range(min(3, setting.config.pairs)):
        shutil.rmtree(cache, ignore_errors=True)
        without.append(ours())
    calls = {"ours": ours}
    if setting.peer is not None:
        python = str(setting.peer)
        calls["peer"] = lambda: _seconds(setting, python, [PEER, *given, weight, str(place / "theirs.npz")], None)
    seconds = pairs.interleave(calls, setting.config.pairs)
    rows = [("ours, compiled before", statistics.median(seconds["ours"]), min(seconds["ours"]), max(seconds["ours"]))]
    rows += [("ours, nothing compiled", statistics.median(without), min(without), max(without))]
    ratios = []
    if "peer" in seconds:
        rows += [("torch, eager", statistics.median(seconds["peer"]), min(seconds["peer"]), max(seconds["peer"]))]
        if inputs.difference(place / "ours.npz", place / "theirs.npz") > setting.config.thresholds.agreement:
            return Findings(failed={"cold_start": "the two images differ"})
        said = "cold_start: torch's time to a first image over ours, compiled before"
        ratios = [Ratio("cold_start", said, pairs.ratio(seconds["peer"], seconds["ours"]), setting.config.pairs, "cold_start")]
    title = f"Seconds from a cold process to its first image ({network}, {workload.steps} steps, batch 1)"
    return Findings(ratios=tuple(ratios), tables=(Table(title, ("process", "median", "least", "most"), tuple(rows)),))


def _seconds(setting: Setting, python: str, words: list[str], cache: Path | None) -> float:
    variables = setting.variables | ({} if cache is None else {"GENDIFF_COMPILE_CACHE": str(cache)})
    begin = time.perf_counter()
    with SideProcess([python, "-m", *words], variables, words[0].rpartition(".")[2]) as process:
        process.ask("first")
        return time.perf_counter() - begin
