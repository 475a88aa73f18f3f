"""One workload on both sides: outputs compared, then timed in turn."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.benchmarks import inputs, pairs, side_process
from experiments.benchmarks.setting import Setting
from experiments.benchmarks.side_process import SideError, SideProcess
from experiments.benchmarks.workloads import Workload
from gendiff.metrics.bootstrap import Interval

MODES = ("eager", "channels_last", "compiled")
MARGIN = 0.1
"""Modes of the peer within this share of its fastest take part in the pairs."""
LONG = 5.0
"""Seconds beyond which one call before the rounds is enough to rank the modes."""
MATMUL = 2048
"""Side of the square matrices whose product is the machine's rate."""


@dataclass(frozen=True)
class Duel:
    """What was found.

    seconds: of the work done once, a round each: "ours", the peer's modes that took part, "matmul". first: seconds of each first time,
    with compilation. tried: seconds of each mode of the peer before the rounds. failed: why a mode could not run.
    difference: of the outputs (see inputs.difference) or gradients; NaN where nothing was compared.
    peak_mib: "ours" and "peer" (eager), of processes that did this work alone.
    flops: of the work done once. busy: largest share of one core that the idle side used during a timed call.
    """

    name: str
    workload: Workload
    seconds: Mapping[str, tuple[float, ...]]
    first: Mapping[str, float]
    tried: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    difference: float = math.nan
    peak_mib: Mapping[str, float] = field(default_factory=dict)
    flops: float = math.nan
    busy: float = 0.0

    @property
    def mode(self) -> str | None:
        """The peer's best mode, by the median of its rounds."""
        there = {name: pairs.median(self.seconds[name]) for name in self.seconds if name in MODES}
        return min(there, key=lambda name: there[name]) if there else None

    @property
    def ratio(self) -> Interval | None:
        """How many times faster than the peer's best mode; None without a peer."""
        return None if self.mode is None else pairs.ratio(self.seconds[self.mode], self.seconds["ours"])

    @property
    def share(self) -> Interval | None:
        """FLOPs a second over those of the matrix product in the same round."""
        if "matmul" not in self.seconds or not self.flops > 0:
            return None
        full = [spent * self.flops / (2 * MATMUL**3) for spent in self.seconds["matmul"]]
        return pairs.ratio(full, self.seconds["ours"])


def fight(setting: Setting, name: str, workload: Workload, modes: tuple[str, ...] = MODES) -> Duel:
    """Runs the workload on both sides, or on ours alone where the setting has no peers.

    Raises SideError where ours, or every mode of the peer, cannot do the work.
    """
    place = setting.folder / name
    place.mkdir(parents=True, exist_ok=True)
    arrays = str(inputs.write(workload, place / "inputs.npz"))
    asked: dict[str, Any] = {"workload": workload.as_json(), "arrays": arrays}
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(_peer(setting))
        weights = ""
        if peer is not None:
            weights = str(place / "weights") if workload.network or workload.kind == "block" else ""
            peer.ask("prepare", **asked, weights=weights)
        first: dict[str, float] = {}
        peaks: dict[str, float] = {}
        failed: dict[str, str] = {}
        difference = math.nan
        gradients = place / "gradients"
        if peer is not None and workload.kind == "train":
            loss = peer.ask("gradient", folder=str(gradients))
        for mode in modes if peer is not None else ():
            try:
                found = peer.ask("mode", mode=mode)  # type: ignore[union-attr]
                first[mode] = found["first"]
                peaks.setdefault("peer", found["peak_mib"])  # that of the first mode, which is the least
            except SideError as error:
                failed[mode] = str(error)
        if peer is not None and not first:
            raise SideError(f"{name}: no mode of the peer ran: {failed}")
        with side_process.start(side_process.OURS, variables=setting.variables) as ours:
            found = ours.ask("prepare", **asked, weights=weights)
            first["ours"], peaks["ours"] = found["first"], found["peak_mib"]
            if peer is not None and workload.kind == "train":
                mine = ours.ask("gradient", folder=str(gradients))
                difference = max(mine["difference"], abs(mine["loss"] - loss) / max(1.0, abs(loss)))
            elif peer is not None:
                mode = next(iter(first))
                ours.ask("output", to=str(place / "ours.npz"))
                peer.ask("output", mode=mode, to=str(place / "theirs.npz"))
                difference = inputs.difference(place / "ours.npz", place / "theirs.npz")
            flops = ours.ask("flops")
            square = Workload("matmul", size=MATMUL)
            ours.ask("prepare", workload=square.as_json(), arrays=str(inputs.write(square, place / "square.npz")), name="matmul")
            seconds, tried, busy = _rounds(setting, ours, peer, list(first))
    return Duel(name, workload, seconds, first, tried, failed, difference, peaks, flops, busy)


def _rounds(
    setting: Setting, ours: SideProcess, peer: SideProcess | None, ready: list[str]
) -> tuple[dict[str, tuple[float, ...]], dict[str, float], float]:
    """(seconds of the work done once, each mode's seconds before, largest share of a core that the waiting side used)."""
    busy = [0.0]

    def call(name: str, repeats: int) -> float:
        side, other = (peer, ours) if name in MODES else (ours, peer)
        assert side is not None
        if other is not None:
            other.settle()
        before, begin = 0.0 if other is None else other.cpu_seconds(), time.monotonic()
        named: dict[str, Any] = {"mode" if name in MODES else "name": name}
        spent = side.ask("run", **named, repeats=repeats) / repeats
        if other is not None:
            busy[0] = max(busy[0], (other.cpu_seconds() - before) / max(time.monotonic() - begin, 0.1))
        return spent

    def warm(name: str) -> float:
        once = call(name, 1)
        return once if once > LONG else min(once, call(name, 1))

    tried = {mode: warm(mode) for mode in ready if mode != "ours"}
    mine = warm("ours")
    shortest = min([mine, *tried.values()])
    repeats = max(1, min(10_000, round(setting.config.call_seconds / shortest)))
    most = max(1, int(setting.config.budget / (setting.config.pairs * repeats * max([mine, *tried.values()]))) - 1)
    names = ["ours", *pairs.contenders(tried, MARGIN, most)] if tried else ["ours"]
    calls: dict[str, Callable[[], float]] = {name: lambda name=name: call(name, repeats) for name in names}  # type: ignore[misc]
    calls["matmul"] = lambda: call("matmul", 1)
    busy[0] = 0.0
    return pairs.interleave(calls, setting.config.pairs), tried, busy[0]


@contextlib.contextmanager
def _peer(setting: Setting) -> Iterator[SideProcess | None]:
    if setting.peer is None:
        yield None
        return
    with side_process.start(side_process.PEER, setting.peer, setting.variables) as process:
        yield process
