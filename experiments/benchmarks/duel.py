"""One workload on several sides: outputs compared first, then all ways to do the work timed in turn."""

import contextlib
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.benchmarks import inputs, ours_work, pairs, side_process
from experiments.benchmarks.config import Setting
from experiments.benchmarks.side_process import SideError, SideProcess
from experiments.benchmarks.workloads import Workload
from experiments.reporting.environment import PROJECT
from gendiff.metrics.bootstrap import Interval

MODES = ("eager", "channels_last", "compiled")
OURS, BEFORE, SQUARE = "ours", "before", "matmul"
"""Names of ways that are no mode of the peer: this code, that of the other checkout, and the matrix product that is the machine's rate."""
MARGIN = 0.1
"""Modes of the peer within this share of its fastest take part in the pairs."""
LONG = 5.0
"""Seconds beyond which one call before the rounds is enough to rank the modes."""
MATMUL = 2048
"""Side of the square matrices of `SQUARE`."""


@dataclass(frozen=True)
class Duel:
    """What was found.

    seconds: of the work done once, one per round: "ours", the peer's modes that took part, "before" (the other checkout), "matmul".
    first: seconds of each first time, with compilation. tried: seconds of each mode of the peer before the rounds.
    failed: why a mode could not run. difference: of our outputs (see inputs.difference) or gradients from the peer's; NaN without a peer.
    apart: the same from the other checkout. peak_mib: "ours" and "peer" (eager), of processes that did this work alone.
    flops: of the work done once. busy: largest share of one core that idle sides used during a timed call.
    """

    name: str
    workload: Workload
    seconds: Mapping[str, tuple[float, ...]]
    first: Mapping[str, float]
    tried: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    difference: float = math.nan
    apart: float = math.nan
    peak_mib: Mapping[str, float] = field(default_factory=dict)
    flops: float = math.nan
    busy: float = 0.0

    @property
    def mode(self) -> str | None:
        """The peer's best mode, by the median of its rounds."""
        medians = {name: statistics.median(self.seconds[name]) for name in self.seconds if name in MODES}
        return min(medians, key=lambda name: medians[name]) if medians else None

    @property
    def ratio(self) -> Interval | None:
        """How many times faster than the peer's best mode; None without a peer."""
        return None if self.mode is None else pairs.ratio(self.seconds[self.mode], self.seconds[OURS])

    @property
    def gain(self) -> Interval | None:
        """How many times faster than the other checkout; None without one."""
        return pairs.ratio(self.seconds[BEFORE], self.seconds[OURS]) if BEFORE in self.seconds else None

    @property
    def share(self) -> Interval | None:
        """FLOPs per second over those of the matrix product in the same round."""
        if SQUARE not in self.seconds or not self.flops > 0:
            return None
        full = [spent * self.flops / (2 * MATMUL**3) for spent in self.seconds[SQUARE]]
        return pairs.ratio(full, self.seconds[OURS])


@dataclass(frozen=True)
class Contender:
    """One way to do the work: a process, and the name or mode that it is asked to run."""

    side: SideProcess
    named: Mapping[str, Any]

    def seconds(self, repeats: int) -> float:
        """Of the work done once."""
        return self.side.ask("run", **self.named, repeats=repeats) / repeats

    def output(self, file: Path) -> Path:
        """The answer of the work in a file."""
        self.side.ask("output", **self.named, to=str(file))
        return file


@dataclass(frozen=True)
class Ring:
    """The ways that are ready to do the work, and what making them ready has shown (see `Duel`)."""

    ways: dict[str, Contender] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def enter(self, name: str, way: Contender, op: str, **arguments: Any) -> None:
        """Makes a way ready by doing the work once."""
        about = way.side.ask(op, **arguments)
        self.ways[name], self.first[name] = way, about["first"]
        self.peaks.setdefault("peer" if name in MODES else name, about["peak_mib"])  # of modes the first, which takes least


def fight(setting: Setting, name: str, workload: Workload, modes: tuple[str, ...] = MODES) -> Duel:
    """Runs the workload with our code, with the peer where the setting has one, and with the other checkout where it has one.

    Raises SideError where ours, or every mode of the peer, cannot do the work.
    """
    place = setting.folder / name
    place.mkdir(parents=True, exist_ok=True)
    weights = place / "weights" if workload.network or workload.kind == "block" else None
    request: dict[str, Any] = {
        "workload": workload.as_json(),
        "arrays": str(inputs.write(workload, place / "inputs.npz")),
        "weights": str(weights or ""),
    }
    ring = Ring()
    with contextlib.ExitStack() as stack:

        def start(*about: Any) -> SideProcess:
            return stack.enter_context(side_process.start(*about))

        gradients, loss = weights, math.nan
        if setting.peer is not None:
            peer = start(side_process.PEER, setting.peer, setting.variables)
            peer.ask("prepare", **request)
            if workload.kind == "train":
                gradients = place / "gradients"
                loss = peer.ask("gradient", folder=str(gradients))
            _enter_modes(ring, peer, modes, name)
        elif weights is not None:
            ours_work.write_weights(workload, weights)
        for own, project in ((OURS, PROJECT), (BEFORE, setting.before)):
            if project is not None:
                side = start(side_process.OURS, sys.executable, setting.variables, project)
                ring.enter(own, Contender(side, {"name": "ours"}), "prepare", **request)
        difference, apart = _differences(ring, workload, place, gradients, loss)
        ours = ring.ways[OURS].side
        flops = ours.ask("flops")
        square = Workload("matmul", size=MATMUL)
        ours.ask("prepare", workload=square.as_json(), arrays=str(inputs.write(square, place / "square.npz")), name=SQUARE)
        seconds, tried, busy = _rounds(setting, ring, Contender(ours, {"name": SQUARE}))
    return Duel(name, workload, seconds, ring.first, tried, ring.failed, difference, apart, ring.peaks, flops, busy)


def _enter_modes(ring: Ring, peer: SideProcess, modes: Iterable[str], name: str) -> None:
    for mode in modes:
        try:
            ring.enter(mode, Contender(peer, {"mode": mode}), "mode", mode=mode)
        except SideError as error:
            ring.failed[mode] = str(error)
    if not ring.ways:
        raise SideError(f"{name}: no mode of the peer ran: {ring.failed}")


def _differences(ring: Ring, workload: Workload, place: Path, gradients: Path | None, loss: float) -> tuple[float, float]:
    """(of ours from the peer, of ours from the other checkout), NaN where there is none.

    Gradients are compared by their distance from those in a folder: the peer's, or without it arbitrary ones of the same shapes.
    """
    modes = [name for name in ring.ways if name in MODES]
    if workload.kind == "train":
        answers = {name: ring.ways[name].side.ask("gradient", folder=str(gradients)) for name in (OURS, BEFORE) if name in ring.ways}
        ours, before = answers[OURS], answers.get(BEFORE)
        peer = max(ours["difference"], _relative(ours["loss"], loss)) if modes else math.nan
        return peer, math.nan if before is None else max(_relative(ours[name], before[name]) for name in ours)
    own = ring.ways[OURS].output(place / "ours.npz")
    rivals = (modes[0] if modes else "", BEFORE)
    peer, apart = (
        inputs.difference(own, ring.ways[name].output(place / f"{name}.npz")) if name in ring.ways else math.nan for name in rivals
    )
    return peer, apart


def _relative(value: float, other: float) -> float:
    return abs(value - other) / max(1.0, abs(other))


def _rounds(setting: Setting, ring: Ring, square: Contender) -> tuple[dict[str, tuple[float, ...]], dict[str, float], float]:
    """(seconds of the work done once, each mode's seconds before, largest share of a core that the waiting sides used)."""
    busy = [0.0]
    sides = {id(way.side): way.side for way in ring.ways.values()}.values()

    def call(way: Contender, repeats: int) -> float:
        idle = [side for side in sides if side is not way.side]
        for side in idle:
            side.settle()
        before, begin = sum(side.cpu_seconds() for side in idle), time.monotonic()
        spent = way.seconds(repeats)
        busy[0] = max(busy[0], (sum(side.cpu_seconds() for side in idle) - before) / max(time.monotonic() - begin, 0.1))
        return spent

    def warm(way: Contender) -> float:
        once = call(way, 1)
        return once if once > LONG else min(once, call(way, 1))

    warmed = {name: warm(way) for name, way in ring.ways.items()}
    tried = {name: seconds for name, seconds in warmed.items() if name in MODES}
    repeats = max(1, min(10_000, round(setting.config.call_seconds / min(warmed.values()))))
    most = max(1, int(setting.config.budget / (setting.config.pairs * repeats * max(warmed.values()))) - 1)
    chosen = [OURS, *pairs.contenders(tried, MARGIN, most)] if tried else [OURS]
    chosen += [BEFORE] if BEFORE in ring.ways else []

    def timed(name: str) -> Callable[[], float]:
        return lambda: call(ring.ways[name], repeats)

    busy[0] = 0.0
    calls = {name: timed(name) for name in chosen} | {SQUARE: lambda: call(square, 1)}
    return pairs.interleave(calls, setting.config.pairs), tried, busy[0]
