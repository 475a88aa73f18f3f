"""Races to equal quality: the least seconds to samples whose Fréchet distance is that of DDIM in 50 steps, or near it.

Both sides draw with the same trained weights from the same noise. Each tries every method that it offers, with more and more evaluations,
until the distance is near enough. The method with the fewest evaluations, of equals the nearest, is judged again on other noise, and timed.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import duel, findings
from experiments.benchmarks.config import Config, Setting
from experiments.benchmarks.duel import MODES, OURS, Case
from experiments.benchmarks.findings import Findings, Limit, Ratio
from experiments.benchmarks.race_courses import Course, Make
from experiments.benchmarks.side_process import SideError, SideProcess
from experiments.benchmarks.workloads import NETWORKS, Workload
from experiments.diffusion import image_draws
from gendiff.runs import interleaving
from gendiff.runs.reporting.results import Cell, Table

RACE, TORCH_RACE = "race", "torch_race"
"""The sides' names."""
STEPS = (3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 25, 32, 40, 50)
"""Numbers of steps that are tried, until one is enough."""
SIDES = {OURS: RACE, "diffusers": TORCH_RACE}


class Choice(NamedTuple):
    """A method in so many steps. excess: its Fréchet distance over that of the reference, less 1, on the noise it was chosen by."""

    method: str
    steps: int
    excess: float

    @property
    def evaluations(self) -> int:
        """Of the network per digit; Heun's method has two per step but the last."""
        return 2 * self.steps - 1 if "Heun" in self.method else self.steps


@dataclass(frozen=True)
class _Entry:
    """What one side found. found: of each method its fewest steps. best: of these. excess: of the best one on other noise.

    reference: the file of what DDIM, or its equal, drew.
    """

    found: tuple[Choice, ...]
    best: Choice
    excess: float
    reference: Path


@dataclass(frozen=True)
class _Race:
    """What both sides are given. most: steps of the reference. tried: numbers of steps, least first. near: the excess that is enough."""

    place: Path
    course: Course
    request: Mapping[str, Any]
    most: int
    tried: tuple[int, ...]
    near: float
    noise: tuple[Path, Path]

    def enter(self, side: SideProcess) -> _Entry:
        """Chooses on the first noise, and judges on the second."""
        chosen_by, judged_by = self.noise
        methods = side.ask("methods")
        reference, file = self._distance(side, chosen_by, methods[0], self.most)
        found = tuple(self._fewest(side, method, reference) for method in methods)
        best = min([each for each in found if each.excess <= self.near] or found, key=lambda each: (each.evaluations, each.excess))
        again, of_all = (self._distance(side, judged_by, *way)[0] for way in ((best.method, best.steps), (methods[0], self.most)))
        return _Entry(found, best, again / of_all - 1, file)

    def _fewest(self, side: SideProcess, method: str, reference: float) -> Choice:
        """The fewest steps that are enough, or the most that were tried."""
        for steps in self.tried:
            choice = Choice(method, steps, self._distance(side, self.noise[0], method, steps)[0] / reference - 1)
            if choice.excess <= self.near:
                break
        return choice

    def _distance(self, side: SideProcess, arrays: Path, method: str, steps: int) -> tuple[float, Path]:
        """(the Fréchet distance of what a side draws, the file that holds it)."""
        name = f"{side.name} {method} {steps} {arrays.stem}"
        file = self.place / f"{name.replace(' ', '_')}.npz"
        side.ask("prepare", name=name, arrays=str(arrays), method=method, steps=steps, **self.request)
        side.ask("output", name=name, to=str(file))
        with np.load(file) as stored:
            return self.course.distance(stored["output"]), file


def measure(make: Make, case: Case, setting: Setting) -> Findings:
    """Ratio of the times of the two choices, the reference of both compared first."""
    assert isinstance(setting.config, Config)
    place, workload, tiny = setting.folder / case.name, setting.fitted(case.workload), setting.config.tiny
    place.mkdir()
    course = make(workload, place, tiny)
    request = {"network": workload.network, "together": course.together, **course.told}
    count = 20 if tiny else workload.batch
    chosen_by, judged_by = (noise(workload, place, count, number) for number in (0, 1))
    steps, most = (STEPS[:2], 4) if tiny else (STEPS, workload.steps)
    race = _Race(place, course, request, most, steps, setting.config.thresholds.near, (chosen_by, judged_by))
    entries = dict[str, _Entry]()
    for name, kind in SIDES.items():
        if name == OURS or setting.peer is not None:
            with setting.start(kind) as side:
                entries[name] = race.enter(side)
    table = Table(
        f"{case.name}: fewest evaluations with a Fréchet distance within {race.near:.0%} of DDIM in {most}, and its excess",
        ("side", "method", "evaluations", "excess on the noise it was chosen by", "on other noise"),
        tuple(
            (name, each.method, each.evaluations, each.excess, entry.excess if each == entry.best else None)
            for name, entry in entries.items()
            for each in entry.found
        ),
    )
    limits = tuple(_limit(case, name, entry) for name, entry in entries.items())
    if len(entries) == 1:
        return Findings(limits=limits, tables=(table,))
    apart = duel.difference(*(entry.reference for entry in entries.values()))
    agrees = Limit(f"{case.name}_agrees", f"{case.name}: DDIM in {most} steps of both sides differs by", apart, course.agreement)
    best = {name: entry.best for name, entry in entries.items()}
    few = min(course.timed, count)
    ratio, times = _timed(case, setting, best, few, request | {"arrays": str(noise(workload, place, few, 2))})
    return Findings(ratios=(ratio,), limits=(agrees, *limits), tables=(table, times))


def _limit(case: Case, name: str, entry: _Entry) -> Limit:
    what = f"{name}, {entry.best.method}, {entry.best.evaluations} evaluations: excess of the Fréchet distance on other noise"
    return Limit(f"{case.name}_{name}", what, entry.excess, "near")


def _timed(case: Case, setting: Setting, chosen: Mapping[str, Choice], count: int, request: Mapping[str, Any]) -> tuple[Ratio, Table]:
    """Ours in turn with the fastest mode of the peer."""
    theirs, pairs = chosen["diffusers"], min(case.pairs, setting.config.pairs)
    with setting.start(RACE) as mine, setting.start(TORCH_RACE) as peer:
        mine.ask("prepare", **request, method=chosen[OURS].method, steps=chosen[OURS].steps, name=OURS)
        tried: dict[str, float] = {}
        for mode in ("eager",) if setting.config.tiny else (mode for mode in MODES if mode != "static_cache"):
            try:
                peer.ask("prepare", **request, method=theirs.method, steps=theirs.steps, name=mode, mode=mode)
            except SideError:
                continue  # a mode that fails is none to race with; the table of times tells who took part
            tried[mode] = min(peer.ask("run", name=mode) for _ in range(2))
        best = min(tried, key=lambda mode: tried[mode])

        def call(side: SideProcess, other: SideProcess, name: str) -> float:
            other.settle()
            seconds: float = side.ask("run", name=name)
            return seconds

        calls = {OURS: functools.partial(call, mine, peer, OURS), best: functools.partial(call, peer, mine, best)}
        seconds = interleaving.interleave(calls, pairs)
    rows: list[tuple[Cell, ...]] = [(OURS, *findings.spread(seconds[OURS])), (f"diffusers, {best}", *findings.spread(seconds[best]))]
    rows += [(f"diffusers, {mode}, before the pairs", spent, None, None) for mode, spent in tried.items()]
    title = f"{case.name}: seconds to {count:,} samples"
    statement = f"{case.name}: time of diffusers ({best}) to samples of equal quality over ours"
    value = duel.ratio(seconds[best], seconds[OURS])
    return Ratio(case.name, statement, value, pairs, case.threshold), Table(title, ("side", "median", "least", "most"), tuple(rows))


def noise(workload: Workload, place: Path, count: int, number: int) -> Path:
    """The file of `count` noises and labels, as many of each class. number: of the seed."""
    file, rng = place / f"noise_{number}.npz", np.random.default_rng(number)
    label = image_draws.labels(count, NETWORKS[workload.network].num_classes or 1)
    np.savez(file, noise=rng.normal(size=(count, *workload.shape)).astype(np.float32), label=label)
    return file
