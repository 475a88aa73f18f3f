"""How invariance is judged, and what is shown of it. Nothing is left to chance, so the interval of a number is the number itself."""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.diffusion.invariance import devices, differences, draw, wrong
from experiments.diffusion.invariance import traces as invariance_traces
from experiments.diffusion.invariance.config import Config, Thresholds, model
from experiments.diffusion.invariance.differences import Compared, Judged
from experiments.diffusion.invariance.traces import Traces
from gendiff.commands.images import image_training
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Relation
from gendiff.runs.run_folder import RunFolder

ON_DEVICES = f"on {devices.DEVICES} devices"
NEITHER = "neither of them"
MOST_GUIDED = 3.0
"""The largest guidance under the threshold `network`."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables, from the checkpoints of the folder."""
    network = model(config)
    params = {seed: image_training.averaged(network, folder, seed) for seed in config.seeds}
    ways, cases = draw.ways(config), draw.cases(config, network, params)
    compared: list[Compared] = []
    with progress.phase("draw"), progress.task("draw", len(cases)) as task:
        for case in cases:
            compared.append(differences.compare(case, [ways[name] for name in config.ways], ways["reference"]))
            task.update(len(compared), case.id)
    with progress.phase("devices"):
        for each, (split, whole) in zip(compared, devices.draw(folder), strict=True):
            each.add(ON_DEVICES, split, whole)
    with progress.phase("controls"):
        controls = _controls(config, compared)
    with progress.phase("traces"):
        first = params[config.seeds[0]]
        both = first, jax.tree.map(lambda leaf: 0.9 * leaf, first)
        traces, static = invariance_traces.of_model(network, both, config), invariance_traces.of_static(config)
    with progress.phase("samplers"):
        every = differences.every_sampler(config, progress)
    claims = *_draw_claims(config, compared, controls, every), *_trace_claims(config.thresholds, traces, static, every)
    tables = _tables(compared, controls, every)
    shown = _same(config, folder, compared, controls), *_of_ways(config.thresholds, folder, compared, controls)
    return Outcome(claims, (*shown, *plots(config, folder, tables)), tables)


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> list[Figure]:
    """Every sampler, those of the largest changes first."""
    rows: list[Any] = [row for row in tables[1].rows if row[2] is not None]
    exact = {row[0]: row[2] for row in sorted(rows, key=lambda row: -row[2])}
    caption = "Every sampler with an exact denoiser: the largest change of any way to draw."
    return _bars(exact, folder.figure("samplers"), caption, "largest difference / max(1, rms)", config.thresholds.oracle)


def _controls(config: Config, compared: list[Compared]) -> dict[str, list[Compared]]:
    """By what they share over the batch; noise alone, and each network at its first guidance."""
    sharing = {"one key": wrong.ONE_KEY, "norms of the batch": wrong.SHARED_NORMS, NEITHER: wrong.NEIGHBOURLESS}
    networks = [of.case for of in compared if of.case.scale == config.guidance[0] and of.case.id.endswith(f"eta {config.etas[-1]:g}")]
    controls = {name: [differences.control(case, sampler, config) for case in networks] for name, sampler in sharing.items()}
    return {"noise from one key": [differences.control(compared[0].case, wrong.OneKeyNoise(), config)], **controls}


def _draw_claims(config: Config, compared: list[Compared], controls: dict[str, list[Compared]], every: list[Judged]) -> list[Claim]:
    claim = functools.partial(_claim, config.thresholds)
    control = functools.partial(claim, kind="control")
    claims = [
        claim("noise", "noise of x_T and of every step: share that differs in any bit", compared[:1], "<="),
        claim("oracle", "DDIM with an oracle: largest difference", [of for of in compared[1:] if of.case.seed is None], "<="),
    ]
    differences = [judged.difference for judged in every if judged.difference is not None]
    text = f"{len(differences)} samplers with an oracle: largest difference"
    limits, n = config.thresholds, len(differences)
    claims.append(verdicts.against(limits, None, "oracle-samplers", text, max(differences), "<=", "oracle", n=n))

    for seed, scale in itertools.product(config.seeds, config.guidance):
        text = f"DDIM with a trained network at guidance {scale:g}: largest difference / max(1, rms)"
        group = [of for of in compared if (of.case.seed, of.case.scale) == (seed, scale)]
        claims.append(claim(f"guidance-{scale:g}", text, group, "<=", "network" if scale <= MOST_GUIDED else "guided"))

    text = "one key for the batch: share of noise that differs"
    claims.append(control("one-key-noise", text, controls["noise from one key"], ">=", "shared_noise"))
    for id, name in (("one-key", "one key"), ("shared-norms", "norms of the batch")):
        text = f"{name} in DDIM with a trained network, other neighbours: largest difference / max(1, rms)"
        claims += [control(id, text, [of], ">=", "guided") for of in controls[name]]
    text = f"the same program with {NEITHER}: largest difference / max(1, rms)"
    return claims + [claim("neither", text, [of], "<=", "network") for of in controls[NEITHER]]


def _claim(limits: Thresholds, id: str, text: str, group: list[Compared], relation: Relation, limit: str = "", **kind: Any) -> Claim:
    """Of the largest difference in a group of one seed."""
    worst, samples = max(of.worst for of in group), sum(of.samples for of in group)
    return verdicts.against(limits, group[0].case.seed, id, text, worst, relation, limit, n=samples, **kind)


def _trace_claims(limits: Thresholds, traces: Traces, static: Traces, every: list[Judged]) -> list[Claim]:
    claim = functools.partial(verdicts.against, limits, None)
    most, least = max(judged.traces.traces for judged in every), min(judged.traces.share for judged in every)
    calls, settings = sum(judged.traces.calls for judged in every), "steps × guidance × eta × parameters"
    text = "traces where the step count is static"
    return [
        claim("traces", f"traces of the guided draw over {settings}", traces.traces, "<=", n=traces.calls),
        claim("settings", "share of those settings with samples of their own", traces.share, ">=", n=traces.calls),
        claim("traces-samplers", f"most traces of any of {len(every)} samplers, rebuilt for every call", most, "<=", "traces", n=calls),
        claim("settings-samplers", "least share of their settings with samples of their own", least, ">=", "settings", n=calls),
        claim("static-count", text, static.traces, ">=", "static_traces", n=static.calls, kind="control"),
    ]


def _same(config: Config, folder: RunFolder, compared: list[Compared], controls: dict[str, list[Compared]]) -> Figure:
    """The same eight samples four times."""
    at_once, small, mixed = (draw.ways(config)[name].how for name in ("reference", "small batches", "shuffled batches"))
    control = controls["one key"][0]
    network = next(of for of in compared if of.case.id == control.case.id)
    drawn = [network.drawn[at_once], network.drawn[ON_DEVICES], control.drawn[small], control.drawn[mixed]]
    rows = [at_once, ON_DEVICES, f"one key, {small}", f"one key, {mixed}"]
    caption = f"The same eight samples: {at_once}, {ON_DEVICES}, and, with one key for the whole batch, {small} and {mixed}"
    images, place = np.concatenate([images[:8] for images in drawn]), folder.figure("same")
    return figures.grid(images, 8, place, f"{caption}: the last two rows should be equal and are not.", rows=rows)


def _of_ways(limits: Thresholds, folder: RunFolder, compared: list[Compared], controls: dict[str, list[Compared]]) -> list[Figure]:
    networks = [of for of in compared if of.case.scale is not None and of.case.scale <= MOST_GUIDED]
    ways = {how: max(of.by_way[how] for of in networks) for how in networks[0].by_way}
    ways |= {f"control: {name}": min(of.worst for of in controls[name]) for name in ("one key", "norms of the batch")}
    caption = "Samples of trained networks: what each way to draw them changes, over max(1, rms)."
    return _bars(ways, folder.figure("ways"), caption, f"largest difference, guidance ≤ {MOST_GUIDED:g}", limits.network)


def _bars(values: dict[str, float], path: Path, caption: str, x_label: str, threshold: float) -> list[Figure]:
    """The values that a logarithmic axis can show, and in the caption those that are 0; no figure where all are."""
    shown, zero = {name: value for name, value in values.items() if value}, [name for name, value in values.items() if not value]
    caption += f" Bitwise equal: {', '.join(zero)}." if zero else ""
    return [figures.bars(shown, path, caption, x_label=x_label, log=True, thresholds=[("threshold", threshold)])] if shown else []


def _tables(compared: list[Compared], controls: dict[str, list[Compared]], every: list[Judged]) -> tuple[Table, Table]:
    rows = [(of.case.id, how, value) for of in compared for how, value in of.by_way.items()]
    rows += [(f"control: {name}", f"seed {of.case.seed}", of.worst) for name, each in controls.items() for of in each]
    columns = ("drawn", "way", "largest difference / max(1, rms); of noise: share unequal")
    judged = [(of.name, of.evaluations, of.difference, of.traces.traces, of.traces.calls, of.traces.own) for of in every]
    judged_columns = ("sampler", "evaluations", "largest difference, oracle", "traces", "calls", "different samples")
    return (
        Table("Every way against all samples at once", columns, tuple(rows)),
        Table("Every sampler of the library", judged_columns, tuple(judged)),
    )
