"""What cases answer, gathered, and the claims made of it."""

import functools
import math
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from experiments.benchmarks import pairs
from experiments.benchmarks.config import Thresholds
from experiments.benchmarks.duel import BEFORE, OURS, Duel
from experiments.reporting import verdicts
from experiments.reporting.results import Table
from experiments.reporting.verdicts import Claim, Relation
from gendiff.metrics.bootstrap import Interval

PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
}
"""FLOP/s of dense bfloat16 products by the vendor's data sheets; the first name that occurs in a device's name counts."""
VOID = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Ratio:
    """How many times faster one way is than another; claimed where `threshold` names a field of Thresholds."""

    name: str
    statement: str
    value: Interval
    n: int
    threshold: str = ""


@dataclass(frozen=True)
class Findings:
    """Of one case. threshold, share: fields of Thresholds that the ratio of its first duel, or its share of a rate, must reach.

    memory: whether peak memory is a claim. failed: why a case could not be measured, by name.
    """

    duels: tuple[Duel, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    tables: tuple[Table, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    threshold: str = ""
    share: str = ""
    memory: bool = False


def claims(outcome: Findings, limits: Thresholds) -> Iterable[Claim]:
    """One claim for each target. A duel whose outputs disagree is void: its ratio counts as NaN, which fails."""

    def claim(id: str, statement: str, value: Interval, relation: Relation, limit: str, n: int = 1) -> Claim:
        return verdicts.against(limits, None, id, statement, value.number, relation, limit, n=n)

    for each in outcome.duels:
        name, rounds = each.name, len(each.seconds[OURS])
        for id, rival, difference in (
            ("agrees", "both sides compute", each.difference),
            ("agrees_with_before", "both checkouts compute", each.apart),
        ):
            if not math.isnan(difference):
                yield claim(f"{name}_{id}", f"{name}: {rival} the same", Interval(*3 * (difference,)), "<=", agreement(each))
        if each.ratio is not None:
            void = not each.difference <= getattr(limits, agreement(each))
            if outcome.threshold:
                yield claim(
                    name, f"{name}: times faster than torch ({each.mode})", VOID if void else each.ratio, ">=", outcome.threshold, rounds
                )
            if outcome.memory:
                less = VOID if void else Interval(*3 * (each.peak_mib["peer"] / each.peak_mib["ours"],))
                yield claim(f"{name}_memory", f"{name}: peak memory of torch over ours, compilation included", less, ">=", "memory")
        share = _share(each, outcome.share) if outcome.share else None
        if share is not None:
            rate = "the GPU’s peak" if outcome.share == "utilisation" else "those of a matrix product"
            yield claim(f"{name}_rate", f"{name}: FLOP/s over {rate}", share, ">=", outcome.share, rounds)
    for ratio in outcome.ratios:
        if ratio.threshold:
            yield claim(ratio.name, ratio.statement, ratio.value, ">=", ratio.threshold, ratio.n)
    for name, why in outcome.failed.items():
        yield claim(f"{name}_ran", f"{name}: could not be measured: {why[:200]}", Interval(1.0, 1.0, 1.0), "<=", "failed")


def ratios(outcome: Findings, limits: Thresholds) -> list[Ratio]:
    """Every ratio that is not to the peer: those of the case itself, and to the other checkout, void where outputs disagree."""
    every = list(outcome.ratios)
    for each in outcome.duels:
        if each.gain is not None:
            gain = each.gain if each.apart <= getattr(limits, agreement(each)) else VOID
            every.append(
                Ratio(f"{each.name}_{BEFORE}", f"{each.name}: time of the other checkout over ours", gain, len(each.seconds[OURS]))
            )
    return every


def agreement(each: Duel) -> str:
    """The threshold of its outputs' difference."""
    return "agreement" if each.workload.dtype == "float32" else "agreement_bfloat16"


def peak_of(device: str) -> float | None:
    """FLOP/s of a device by name; None for one that is not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def _share(each: Duel, wanted: str) -> Interval | None:
    if wanted != "utilisation":
        return each.share
    peak = peak_of(_gpu_name())
    if peak is None or not each.flops > 0:
        return None
    return pairs.ratio([each.flops / peak] * len(each.seconds[OURS]), each.seconds[OURS])


@functools.cache
def _gpu_name() -> str:
    """The first GPU's name as its driver tells it; "" without one. The bench itself holds no GPU."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return (ran.stdout.splitlines() or [""])[0].strip() if ran.returncode == 0 else ""
