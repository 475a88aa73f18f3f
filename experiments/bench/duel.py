"""One workload on several sides: outputs compared first, then all ways to do the work timed in turn, and what the times
say.
"""

import contextlib
import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import weights
from experiments.bench.config import Setting
from experiments.bench.side import SideError, SideProcess
from experiments.bench.workloads import MODES, Case, Workload
from gendiff.metrics import bootstrap
from gendiff.runs import paired_timing
from gendiff.runs.reporting.verdicts import Number

OURS, BEFORE, SQUARE = "ours", "before", "matmul"
"""Names of ways that are no mode of the peer: this code, that of the other checkout, and the matrix product that is the
machine's rate.
"""
MATMUL = 2048
"""Side of the square matrices of `SQUARE`."""


@dataclass(frozen=True)
class Duel:
    """What was found.

    seconds: of the work done once, one per round: "ours", the peer's modes that took part, "before" (the other
        checkout), "matmul".
    first: seconds of each first time, with compilation. tried: seconds of each mode of the peer before the rounds.
    failed: why a mode could not run. difference: of our outputs (see `difference`) or gradients from the peer's; NaN
        without a peer.
    apart: the same from the other checkout. peak_mib: of the process that did this work alone, by way.
    flops: of the work done once. busy: largest share of one core that idle sides used during a timed call. device: that
        ours ran on.
    rounding: difference of ours from the peer in float64 over that of the peer in float32; NaN where there is none.
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
    rounding: float = math.nan

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
    """Runs the workload with our code, with the peer where the setting has one, and with the other checkout where it
    has one.

    most: how many of the peer's modes take part. Raises SideError where ours, or every mode of the peer, cannot do the
        work.
    """
    workload, working = setting.fitted(case.workload), setting.case_folder(case.name)
    folder = weights.folder(workload, setting.folder)
    arguments = request(workload, workload.family.inputs(workload, folder), working, "inputs", folder)
    ways: dict[str, SideProcess] = {}
    ready: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = dict(case.left_out) if setting.peer is not None else {}

    def make_ready(name: str, side: SideProcess, **arguments: Any) -> None:
        ready[name] = side.ask("prepare", name=name, **arguments)
        ways[name] = side

    with contextlib.ExitStack() as stack:
        if setting.peer is not None:
            peer = stack.enter_context(setting.start("torch"))
            for mode in case.modes[: 1 if setting.config.tiny else most]:
                try:
                    make_ready(mode, peer, mode=mode, **arguments)
                except SideError as error:
                    failed[mode] = str(error)
            if not ways:
                raise SideError(f"{case.name}: no mode of the peer ran: {failed}")
        for name in (OURS, BEFORE) if setting.before is not None else (OURS,):
            make_ready(name, stack.enter_context(setting.start(name)), **arguments)
        rival = next((name for name in ways if name in MODES), "")
        files = {name: working / f"{name}.npz" for name in (rival, OURS, BEFORE) if name in ways}
        for name, file in files.items():
            ways[name].ask("output", name=name, to=str(file))
        differences = [difference(files[OURS], files[name]) if name in files else math.nan for name in (rival, BEFORE)]
        if case.exact and rival:
            files["float64"] = working / "float64.npz"
            with setting.start("torch") as exact:
                exact.ask(
                    "prepare", name="float64", **arguments | {"workload": arguments["workload"] | {"dtype": "float64"}}
                )
                exact.ask("output", name="float64", to=str(files["float64"]))
        mine, theirs = (
            difference(files[name], files["float64"]) if "float64" in files else math.nan for name in (OURS, rival)
        )
        device, square = ", ".join(ways[OURS].ask("about")["devices"]), Workload("matmul", size=MATMUL)
        make_ready(SQUARE, ways[OURS], **request(square, square.family.inputs(square), working, SQUARE))
        seconds, tried, busy = _rounds(setting, ways, setting.pairs(case))
    first, peak_mib = ({name: about[what] for name, about in ready.items()} for what in ("first", "peak_mib"))
    rates = workload.family.flops(workload), busy, device, workload.tokens_done, mine / theirs if theirs else math.nan
    return Duel(case, seconds, first, tried, failed, differences[0], differences[1], peak_mib, *rates)


def request(
    workload: Workload,
    arrays: Mapping[str, np.ndarray],
    working: Path,
    name: str = "inputs",
    folder: Path | None = None,
) -> dict[str, Any]:
    """What either side's `prepare` is told of a workload, whose arrays are written into a file `name` of the place."""
    file = working / f"{name}.npz"
    np.savez(file, allow_pickle=False, **arrays)
    return {"workload": dataclasses.asdict(workload), "arrays": str(file), "weights": str(folder or "")}


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Number:
    """The median over pairs of slower / faster, with the 95 % bootstrap interval over pairs.

    Raises ValueError for sequences of different lengths or fewer than 2 pairs.
    """
    quotients = np.asarray(slower, np.float64) / np.asarray(faster, np.float64)
    return bootstrap.interval(np.random.default_rng(0), np.median, quotients, resamples=2000).number


def contenders(seconds: Mapping[str, float], margin: float, most: int) -> list[str]:
    """The fastest name, and those within `margin` of it (0.1: 10 %), fastest first, at most `most`."""
    ranked = sorted(seconds, key=lambda name: seconds[name])
    return [name for name in ranked if seconds[name] <= (1 + margin) * seconds[ranked[0]]][:most]


def difference(ours: Path, theirs: Path) -> float:
    """The largest difference of two outputs over max(1, rms of the second); infinite where shapes differ or a value is
    not finite.

    Of losses and gradients it is the larger of that of the losses and of ‖a − b‖ / ‖b‖, all parameters together. Of
    greedy texts it is as `of_texts` says.
    """
    with np.load(ours) as a, np.load(theirs) as b:
        first, second = ({name: file[name].astype(np.float64) for name in file.files} for file in (a, b))
    same = first.keys() == second.keys() and all(first[name].shape == second[name].shape for name in first)
    if not same or not all(np.isfinite(array).all() for array in (*first.values(), *second.values())):
        return float("inf")
    if "tokens" in first:
        return of_texts((first["tokens"], first["output"]), (second["tokens"], second["output"]))
    if "loss" not in first:
        return _relative(first["output"], second["output"])
    names = first.keys() - {"loss"}
    distance, norm = (sum(np.square(second[name] - by * first[name]).sum() for name in names) for by in (1, 0))
    return max(_relative(first["loss"], second["loss"]), math.sqrt(distance / norm))


def of_texts(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> float:
    """Of greedy texts, tokens (b, n) and the logits (b, n, v) by which each was chosen, as far as the tokens before are
    equal.

    Rounding may exchange two tokens that are equally likely, behind which the texts have nothing in common. Where a
    text first has another token, how much less likely ours is by their logits counts as well.
    """
    (tokens, logits), (others, reference) = ours, theirs
    same = tokens == others
    before = np.cumprod(np.concatenate([np.ones_like(same[:, :1]), same[:, :-1]], 1), 1).astype(bool)
    distances = np.abs(logits - reference).max(-1, where=before[..., None], initial=0.0)
    chosen, instead = (
        np.take_along_axis(reference, each[..., None].astype(int), -1)[..., 0] for each in (others, tokens)
    )
    less = np.where(before & ~same, np.abs(chosen - instead), 0.0)
    return float(max(distances.max(), less.max()) / max(1.0, np.sqrt(np.mean(np.square(reference)))))


def _relative(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max() / max(1.0, np.sqrt(np.mean(np.square(second)))))


def _rounds(
    setting: Setting, ways: Mapping[str, SideProcess], pairs: int
) -> tuple[dict[str, tuple[float, ...]], dict[str, float], float]:
    """(seconds of the work done once, each mode's seconds before, largest share of a core that the waiting sides
    used).
    """
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
    # one call ranks longer ones well enough
    warmed |= {name: min(once, call(name)) for name, once in warmed.items() if once <= 5.0}
    tried = {name: seconds for name, seconds in warmed.items() if name in MODES}
    repeats = max(1, min(10_000, round(setting.config.call_seconds / min(warmed.values()))))
    most = max(1, int(setting.config.budget / (pairs * repeats * max(warmed.values()))) - 1)
    chosen = [OURS, *contenders(tried, 0.1, most), *(name for name in ways if name == BEFORE)]
    busy.clear()
    calls = {name: functools.partial(call, name, repeats) for name in chosen} | {
        SQUARE: functools.partial(call, SQUARE)
    }
    return paired_timing.interleave(calls, pairs), tried, max(busy)
