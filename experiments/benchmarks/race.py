"""The race to digits of equal quality: the least seconds to so many whose Fréchet distance is that of DDIM in 50 steps, or near it.

Both sides draw with the same trained weights from the same noise. Each tries every method that it offers, with more and more evaluations,
until the distance is near enough. The method with the fewest evaluations is judged again on other noise, and timed.
"""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import duel, findings, ours
from experiments.benchmarks.config import Config, Setting
from experiments.benchmarks.duel import MODES, OURS, Case
from experiments.benchmarks.findings import Findings, Limit, Ratio
from experiments.benchmarks.side_process import SideError, SideProcess
from experiments.benchmarks.workloads import NETWORKS, Workload
from experiments.diffusion import digits as digits_experiment
from experiments.diffusion import image_training
from experiments.framework import interleaving
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from experiments.reporting.results import Cell, Table
from gendiff.core.types import Params
from gendiff.data import digits, scaling
from gendiff.metrics import features, frechet

RACE, TORCH_RACE = "race", "torch_race"
"""The sides' names."""
TOGETHER = 125
"""Digits drawn in one call on either side."""
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


def measure(case: Case, setting: Setting) -> Findings:
    """Ratio of the times of the two choices, the reference of both compared first."""
    assert isinstance(setting.config, Config)
    place, limits, workload = setting.folder / case.name, setting.config.thresholds, setting.fitted(case.workload)
    place.mkdir()
    weights = _weights(workload, place, setting.config.tiny)
    chosen_by, judged_by = (noise(workload, place, 20 if setting.config.tiny else workload.batch, number) for number in (0, 1))
    steps, most = (STEPS[:2], 4) if setting.config.tiny else (STEPS, workload.steps)
    request: dict[str, Any] = {"network": workload.network, "weights": str(weights), "together": TOGETHER}
    near, held_out = limits.near, frechet.fit(features.pixels(digits.load().held_out_images))

    def distance(side: SideProcess, arrays: Path, method: str, steps: int) -> tuple[float, Path]:
        name, file = f"{side.name} {method} {steps} {arrays.stem}", place / f"{side.name}_{method}_{steps}_{arrays.stem}.npz"
        side.ask("prepare", name=name, arrays=str(arrays), method=method, steps=steps, **request)
        side.ask("output", name=name, to=str(file))
        return _distance(file, held_out), file

    def choose(side: SideProcess, reference: float) -> Iterator[Choice]:
        for method in side.ask("methods"):
            for count in steps:
                if (excess := distance(side, chosen_by, method, count)[0] / reference - 1) <= near or count == steps[-1]:
                    yield Choice(method, count, excess)
                    break

    rows, chosen, excesses = list[tuple[Cell, ...]](), dict[str, Choice](), dict[str, float]()
    references: dict[str, Path] = {}
    for name, kind in SIDES.items():
        if name != OURS and setting.peer is None:
            continue
        with setting.start(kind) as side:
            first = side.ask("methods")[0]
            reference, references[name] = distance(side, chosen_by, first, most)
            found = list(choose(side, reference))
            enough = [each for each in found if each.excess <= near]
            best = min(enough or found, key=lambda each: each.evaluations)
            again = distance(side, judged_by, best.method, best.steps)[0] / distance(side, judged_by, first, most)[0] - 1
        chosen[name], excesses[name] = best, again
        rows += [(name, each.method, each.evaluations, each.excess, again if each == best else None) for each in found]
    table = Table(
        f"{case.name}: fewest evaluations with a Fréchet distance within {near:.0%} of DDIM in {most}, and its excess",
        ("side", "method", "evaluations", "excess on the noise it was chosen by", "on other noise"),
        tuple(rows),
    )
    shown = tuple(
        Limit(
            f"{case.name}_{name}",
            f"{name}, {best.method}, {best.evaluations} evaluations: excess of the Fréchet distance",
            excesses[name],
            "near",
        )
        for name, best in chosen.items()
    )
    if len(chosen) == 1:
        return Findings(limits=shown, tables=(table,))
    apart = duel.difference(*references.values())
    agrees = Limit(f"{case.name}_agrees", f"{case.name}: DDIM in {most} steps of both sides differs by", apart, "agreement")
    ratio, times = _timed(case, setting, chosen, request | {"arrays": str(judged_by)})
    return Findings(ratios=(ratio,), limits=(agrees, *shown), tables=(table, times))


def _timed(case: Case, setting: Setting, chosen: Mapping[str, Choice], request: Mapping[str, Any]) -> tuple[Ratio, Table]:
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
        calls = {OURS: functools.partial(mine.ask, "run", name=OURS), best: functools.partial(peer.ask, "run", name=best)}
        seconds = interleaving.interleave(calls, pairs)
    rows: list[tuple[Cell, ...]] = [(OURS, *findings.spread(seconds[OURS])), (f"diffusers, {best}", *findings.spread(seconds[best]))]
    rows += [(f"diffusers, {mode}, before the pairs", spent, None, None) for mode, spent in tried.items()]
    title = f"{case.name}: seconds to all digits"
    statement = f"{case.name}: time of diffusers ({best}) to digits of equal quality over ours"
    value = duel.ratio(seconds[best], seconds[OURS])
    return Ratio(case.name, statement, value, pairs, case.threshold), Table(title, ("side", "median", "least", "most"), tuple(rows))


def _distance(file: Path, held_out: frechet.FittedGaussian) -> float:
    with np.load(file) as stored:
        seen = np.asarray(scaling.round_to_levels(stored["output"], digits.LEVELS))
    return frechet.between(held_out, frechet.fit(features.pixels(seen)))


def noise(workload: Workload, place: Path, count: int, number: int) -> Path:
    """The file of `count` noises and labels, as many of each class. number: of the seed."""
    file, rng = place / f"noise_{number}.npz", np.random.default_rng(number)
    label = (np.arange(count) % NETWORKS[workload.network].num_classes).astype(np.int32)  # type: ignore[operator]  # it has classes
    np.savez(file, noise=rng.normal(size=(count, *workload.shape)).astype(np.float32), label=label)
    return file


def _weights(workload: Workload, place: Path, tiny: bool) -> Path:
    """A folder of weights as diffusers has them: those of the digits experiment, trained here by its recipe; tiny, random ones."""
    folder = place / "weights"
    if tiny:
        ours.write_weights(workload, folder)
    else:
        ours.save(workload, _trained(place / "training"), folder)
    return folder


def _trained(place: Path) -> Params:
    config, folder = digits_experiment.Config(), RunFolder(place)
    model = digits_experiment.model(config)
    image_training.train(config, model, image_training.digits_batch(digits.load()), folder, Progress(quiet=True), seeds=(0,))
    return image_training.averaged(model, folder, 0)
