"""One workload on several sides: outputs compared first, then all ways to do the work timed in turn, and what the times say."""

import contextlib
import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import greedy, ours, workloads
from experiments.benchmarks.config import Setting
from experiments.benchmarks.side_process import SideError, SideProcess
from experiments.benchmarks.workloads import LANGUAGE, NETWORKS, TEXT_MODELS, Workload
from gendiff.metrics import bootstrap
from gendiff.runs import interleaving
from gendiff.runs.reporting.verdicts import Number

MODES = ("eager", "channels_last", "static_cache", "compiled")
OURS, BEFORE, SQUARE = "ours", "before", "matmul"
"""Names of ways that are no mode of the peer: this code, that of the other checkout, and the matrix product that is the machine's rate."""
FLAT = ("DiTTransformer2DModel", "CLIPTextModel", "LlamaForCausalLM", "VideoTransformer")
"""Networks without feature maps."""
Ways = Mapping[str, SideProcess]
"""By name, the process that is ready to do the work under that name."""
MATMUL = 2048
"""Side of the square matrices of `SQUARE`."""


@dataclass(frozen=True)
class Case:
    """One question of the bench.

    name: the word on the command line. device: where it belongs. measure: (case, setting) -> Findings; None for one duel.
    absent: why it cannot be measured here, what to install included; empty where it can. Tiny works need nothing. pairs: rounds, at most.
    left_out: why a mode of the peer takes no part, by mode.
    threshold, share: fields of Thresholds that its ratio, or its share of a rate, must reach. memory: whether peak memory is a claim.
    by_vendor: the threshold on processors of a vendor, by `processor.vendor`.
    """

    name: str
    question: str
    workload: Workload
    threshold: str = ""
    share: str = ""
    memory: bool = False
    device: str = "cpu"
    measure: Callable[["Case", Setting], Any] | None = None
    absent: Callable[[], str] | None = None
    pairs: int = 1000
    left_out: Mapping[str, str] = field(default_factory=dict)
    by_vendor: Mapping[str, str] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """The peer's modes; "channels_last" only where there are feature maps to lay out, "static_cache" only where there is a cache."""
        network = NETWORKS.get(self.workload.network)
        flat = self.workload.kind in ("attention", "watermark") if network is None else network.kind in FLAT
        left_out = (["channels_last"] if flat else []) + ([] if self.workload.kind in LANGUAGE else ["static_cache"]) + list(self.left_out)
        return tuple(mode for mode in MODES if mode not in left_out)


@dataclass(frozen=True)
class Duel:
    """What was found.

    seconds: of the work done once, one per round: "ours", the peer's modes that took part, "before" (the other checkout), "matmul".
    first: seconds of each first time, with compilation. tried: seconds of each mode of the peer before the rounds.
    failed: why a mode could not run. difference: of our outputs (see `difference`) or gradients from the peer's; NaN without a peer.
    apart: the same from the other checkout. peak_mib: of the process that did this work alone, by way.
    flops: of the work done once. busy: largest share of one core that idle sides used during a timed call. device: that ours ran on.
    tokens: that the work done once trains on or writes (see `Workload.tokens_done`).
    """

    case: Case
    seconds: Mapping[str, tuple[float, ...]]
    first: Mapping[str, float]
    tried: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    difference: float = math.nan
    apart: float = math.nan
    peak_mib: Mapping[str, float] = field(default_factory=dict)
    flops: float = math.nan
    busy: float = 0.0
    device: str = ""
    tokens: int = 0

    @property
    def mode(self) -> str | None:
        """The peer's best mode, by the median of its rounds."""
        modes = (name for name in self.seconds if name in MODES)
        return min(modes, key=lambda name: statistics.median(self.seconds[name]), default=None)

    @property
    def ratio(self) -> Number | None:
        """How many times faster than the peer's best mode; None without a peer."""
        return None if self.mode is None else ratio(self.seconds[self.mode], self.seconds[OURS])

    @property
    def gain(self) -> Number | None:
        """How many times faster than the other checkout; None without one."""
        return ratio(self.seconds[BEFORE], self.seconds[OURS]) if BEFORE in self.seconds else None

    @property
    def share(self) -> Number | None:
        """FLOPs per second over those of the matrix product in the same round."""
        if SQUARE not in self.seconds or not self.flops > 0:
            return None
        return ratio([spent * self.flops / (2 * MATMUL**3) for spent in self.seconds[SQUARE]], self.seconds[OURS])


def fight(case: Case, setting: Setting, most: int = len(MODES)) -> Duel:
    """Runs the workload with our code, with the peer where the setting has one, and with the other checkout where it has one.

    most: how many of the peer's modes take part. Raises SideError where ours, or every mode of the peer, cannot do the work.
    """
    workload, place = setting.fitted(case.workload), setting.folder / case.name
    place.mkdir(parents=True, exist_ok=True)
    weights = weights_of(workload, place, setting)
    request = workloads.request(workload, place, weights=weights, given=ours.inputs(workload, weights))
    ways: dict[str, SideProcess] = {}
    ready: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = dict(case.left_out) if setting.peer is not None else {}

    def make_ready(name: str, side: SideProcess, op: str, **request: Any) -> None:
        ready[name] = side.ask(op, name=name, **request)
        ways[name] = side

    gradients, loss = weights, math.nan
    with contextlib.ExitStack() as stack:
        if setting.peer is not None:
            peer = stack.enter_context(setting.start("torch"))
            peer.ask("prepare", **request)
            if workload.kind == "train":
                gradients = place / "gradients"
                loss = peer.ask("gradient", folder=str(gradients))
            for mode in case.modes[: 1 if setting.config.tiny else most]:
                try:
                    make_ready(mode, peer, "mode")
                except SideError as error:
                    failed[mode] = str(error)
            if not ways:
                raise SideError(f"{case.name}: no mode of the peer ran: {failed}")
        elif weights is not None and not weights.exists():
            ours.write_weights(workload, weights)
        for own in (OURS, BEFORE) if setting.before is not None else (OURS,):
            make_ready(own, stack.enter_context(setting.start(own)), "prepare", **request)
        apart = _differences(ways, workload, place, gradients, loss)
        flops, device = ways[OURS].ask("flops"), ", ".join(ways[OURS].ask("about")["devices"])
        make_ready(SQUARE, ways[OURS], "prepare", **workloads.request(Workload("matmul", size=MATMUL), place, SQUARE))
        seconds, tried, busy = _rounds(setting, ways, min(case.pairs, setting.config.pairs))
    first, peak_mib = ({name: about[what] for name, about in ready.items()} for what in ("first", "peak_mib"))
    return Duel(case, seconds, first, tried, failed, *apart, peak_mib, flops, busy, device, workload.tokens_done)


def weights_of(workload: Workload, place: Path, setting: Setting) -> Path | None:
    """The folder of the work's weights, None where it has none. Those of a language model are there already, and serve all cases."""
    if workload.kind not in TEXT_MODELS:
        return place / "weights" if workload.network or workload.kind == "block" else None
    shared = setting.folder / workload.network
    if not shared.exists():
        ours.write_weights(workload, shared)
    return shared


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Number:
    """The median over pairs of slower / faster, with the 95 % bootstrap interval over pairs.

    Raises ValueError for sequences of different lengths or fewer than 2 pairs.
    """
    quotients = np.asarray(slower, np.float64) / np.asarray(faster, np.float64)
    return bootstrap.interval(np.random.default_rng(0), np.median, quotients, resamples=2000).number


def exponent(x: Sequence[float], seconds: Sequence[Sequence[float]]) -> Number:
    """The slope of log seconds over log x by least squares, with the 95 % bootstrap interval over the repeats of every x.

    seconds: (points, repeats). 1 is linear growth. Raises ValueError for fewer than 2 points or 2 repeats.
    """
    if len(x) < 2:
        raise ValueError(f"an exponent needs at least 2 values of x, got {len(x)}")

    def slope(rows: np.ndarray) -> float:
        return np.polyfit(np.log(x), np.median(rows, axis=0), 1)[0]

    return bootstrap.interval(np.random.default_rng(0), slope, np.log(seconds).T, resamples=2000).number


def contenders(seconds: Mapping[str, float], margin: float, most: int) -> list[str]:
    """The fastest name, and those within `margin` of it (0.1: 10 %), fastest first, at most `most`."""
    ranked = sorted(seconds, key=lambda name: seconds[name])
    return [name for name in ranked if seconds[name] <= (1 + margin) * seconds[ranked[0]]][:most]


def difference(ours: Path, theirs: Path) -> float:
    """The largest difference of two outputs over max(1, rms of the second); infinite where shapes differ or a value is not finite.

    Greedy texts are compared as `greedy.difference` does.
    """
    with np.load(ours) as a, np.load(theirs) as b:
        if "tokens" in b:
            return greedy.difference((a["tokens"], a["output"]), (b["tokens"], b["output"]))
        first, second = a["output"].astype(np.float64), b["output"].astype(np.float64)
    if first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return float("inf")
    return float(np.abs(first - second).max() / max(1.0, np.sqrt(np.mean(np.square(second)))))


def _differences(ways: Ways, workload: Workload, place: Path, gradients: Path | None, loss: float) -> tuple[float, float]:
    """(of ours from the peer, of ours from the other checkout), NaN where there is none.

    Gradients are compared by their distance from those in a folder: the peer's, or without it arbitrary ones of the same shapes.
    """
    mode = next((name for name in ways if name in MODES), "")
    if workload.kind != "train":
        files = {name: place / f"{name}.npz" for name in (OURS, mode, BEFORE) if name in ways}
        for name, file in files.items():
            ways[name].ask("output", name=name, to=str(file))
        peer, apart = (difference(files[OURS], files[name]) if name in files else math.nan for name in (mode, BEFORE))
        return peer, apart

    def relative(value: float, other: float) -> float:
        return abs(value - other) / max(1.0, abs(other))

    mine, *before = (ways[name].ask("gradient", folder=str(gradients), name=name) for name in (OURS, BEFORE) if name in ways)
    peer = max(mine["difference"], relative(mine["loss"], loss)) if mode else math.nan
    return peer, max(relative(mine[name], before[0][name]) for name in mine) if before else math.nan


def _rounds(setting: Setting, ways: Ways, pairs: int) -> tuple[dict[str, tuple[float, ...]], dict[str, float], float]:
    """(seconds of the work done once, each mode's seconds before, largest share of a core that the waiting sides used)."""
    busy: list[float] = []

    def call(name: str, repeats: int = 1) -> float:
        idle = set(ways.values()) - {ways[name]}
        for side in idle:
            side.settle()
        before, begin = sum(side.cpu_seconds() for side in idle), time.monotonic()
        spent = ways[name].ask("run", name=name, repeats=repeats) / repeats
        busy.append((sum(side.cpu_seconds() for side in idle) - before) / max(time.monotonic() - begin, 0.1))
        return spent

    warmed = {name: call(name) for name in ways if name != SQUARE}
    warmed |= {name: min(once, call(name)) for name, once in warmed.items() if once <= 5.0}  # one call ranks longer ones well enough
    tried = {name: seconds for name, seconds in warmed.items() if name in MODES}
    repeats = max(1, min(10_000, round(setting.config.call_seconds / min(warmed.values()))))
    most = max(1, int(setting.config.budget / (pairs * repeats * max(warmed.values()))) - 1)
    chosen = [OURS, *contenders(tried, 0.1, most), *(name for name in ways if name == BEFORE)]
    busy.clear()
    calls = {name: functools.partial(call, name, repeats) for name in chosen} | {SQUARE: functools.partial(call, SQUARE)}
    return interleaving.interleave(calls, pairs), tried, max(busy)
