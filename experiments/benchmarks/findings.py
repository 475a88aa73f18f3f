"""What cases answer, gathered, and the claims made of it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.benchmarks import machine, pairs
from experiments.benchmarks.duel import Duel
from experiments.benchmarks.setting import Thresholds
from experiments.reporting import verdicts
from experiments.reporting.results import Table
from experiments.reporting.verdicts import Claim
from gendiff.metrics.bootstrap import Interval


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
    """Of one case or several. threshold, share: by duel, the field of Thresholds that its ratio, or its share of the rate, must reach.

    memory: whether peak memory is a claim.
    """

    duels: tuple[Duel, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    tables: tuple[Table, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    threshold: Mapping[str, str] = field(default_factory=dict)
    share: Mapping[str, str] = field(default_factory=dict)
    memory: bool = False


def claims(found: Findings, thresholds: Thresholds) -> Iterable[Claim]:
    """One claim for each target. A duel whose outputs disagree is void: its ratio counts as NaN, which fails."""
    for each in found.duels:
        if each.mode is None:
            continue
        name = "agreement" if each.workload.dtype == "float32" else "agreement_bfloat16"
        if not math.isnan(each.difference):
            difference = Interval(each.difference, each.difference, each.difference)
            yield _claim(f"{each.name}_agrees", f"{each.name}: both sides compute the same", difference, "<=", name, thresholds, 1)
        void = not each.difference <= getattr(thresholds, name)
        if found.threshold.get(each.name) and each.ratio is not None:
            said = f"{each.name}: times faster than torch ({each.mode})"
            rounds = len(each.seconds["ours"])
            yield _claim(each.name, said, _void() if void else each.ratio, ">=", found.threshold[each.name], thresholds, rounds)
        if found.memory:
            less = each.peak_mib["peer"] / each.peak_mib["ours"]
            said = f"{each.name}: peak memory of torch over ours, compilation included"
            yield _claim(f"{each.name}_memory", said, _void() if void else Interval(less, less, less), ">=", "memory", thresholds, 1)
    for each in found.duels:
        wanted = found.share.get(each.name)
        share = _share(each, wanted or "")
        if wanted and share is not None:
            said = f"{each.name}: FLOP/s over {'the GPU’s peak' if wanted == 'utilisation' else 'those of a matrix product'}"
            yield _claim(f"{each.name}_rate", said, share, ">=", wanted, thresholds, len(each.seconds["ours"]))
    for ratio in found.ratios:
        if ratio.threshold:
            yield _claim(ratio.name, ratio.statement, ratio.value, ">=", ratio.threshold, thresholds, ratio.n)
    for name, why in found.failed.items():
        yield _claim(f"{name}_ran", f"{name}: could not be measured: {why[:200]}", Interval(1.0, 1.0, 1.0), "<=", "failed", thresholds, 1)


def _share(each: Duel, wanted: str) -> Interval | None:
    if wanted != "utilisation":
        return each.share
    peak = machine.peak_flops()
    if peak is None or not each.flops > 0:
        return None
    least = [each.flops / peak] * len(each.seconds["ours"])
    return pairs.ratio(least, each.seconds["ours"])


def _claim(id: str, statement: str, value: Interval, relation: Any, name: str, thresholds: Thresholds, n: int) -> Claim:
    return verdicts.against(thresholds, None, id, statement, value.number, relation, name, n=n)


def _void() -> Interval:
    return Interval(math.nan, math.nan, math.nan)
