"""How invariance is judged, and what is shown of it. Nothing is left to chance, so the interval of a number is the number itself."""

import functools

import jax
import numpy as np

from experiments.diffusion.invariance import devices, differences, draw, wrong
from experiments.diffusion.invariance import traces as invariance_traces
from experiments.diffusion.invariance.config import Config, Thresholds
from experiments.diffusion.invariance.differences import Compared, Judged
from experiments.diffusion.invariance.traces import Traces
from experiments.diffusion.invariance.train import model
from experiments.framework import training_loop
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures, verdicts
from experiments.reporting.results import Figure, Table
from experiments.reporting.verdicts import Claim

ON_DEVICES = f"on {devices.DEVICES} devices"
NEITHER = "neither of them"
MOST_GUIDED = 3.0
"""The largest guidance under the threshold `network`."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables, from the checkpoints of the folder."""
    network = model(config)
    params = {seed: training_loop.restore_ema(network.init, folder, seed=seed, decay=network.ema) for seed in config.seeds}
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
    claims = [*_draw_claims(config, compared, every), *_control_claims(config.thresholds, controls)]
    claims += _trace_claims(config.thresholds, traces, static, every)
    shown = _pictures(config, folder, compared, controls), *_plots(config.thresholds, folder, compared, controls, every)
    return Outcome(tuple(claims), shown, (_ways_table(compared, controls), _samplers_table(every)))


def _controls(config: Config, compared: list[Compared]) -> dict[str, list[Compared]]:
    """By what they share over the batch; noise alone, and each network at its first guidance."""
    sharing = {"one key": wrong.ONE_KEY, "norms of the batch": wrong.SHARED_NORMS, NEITHER: wrong.NEIGHBOURLESS}
    networks = [of.case for of in compared if of.case.scale == config.guidance[0] and of.case.id.endswith(f"eta {config.etas[-1]:g}")]
    alone = differences.control(compared[0].case, wrong.OneKeyNoise(), config)
    controls = {"noise from one key": [alone]}
    for name, sampler in sharing.items():
        controls[name] = [differences.control(case, sampler, config) for case in networks]
    return controls


def _draw_claims(config: Config, compared: list[Compared], every: list[Judged]) -> list[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds)
    noise, exact = compared[0], [of for of in compared[1:] if of.case.seed is None]
    claims = [
        claim(None, "noise", "noise of x_T and of every step: share that differs in any bit", noise.worst, "<=", n=noise.samples),
        claim(
            None,
            "oracle",
            "DDIM with an oracle: largest difference",
            max(of.worst for of in exact),
            "<=",
            n=sum(of.samples for of in exact),
        ),
    ]
    differences = [judged.difference for judged in every if judged.difference is not None]
    statement = f"{len(differences)} samplers with an oracle: largest difference"
    claims.append(claim(None, "oracle-samplers", statement, max(differences), "<=", "oracle", n=len(differences)))
    for seed in config.seeds:
        for scale in config.guidance:
            group = [of for of in compared if (of.case.seed, of.case.scale) == (seed, scale)]
            claims.append(
                claim(
                    seed,
                    f"guidance-{scale:g}",
                    f"DDIM with a trained network at guidance {scale:g}: largest difference / max(1, rms)",
                    max(of.worst for of in group),
                    "<=",
                    "network" if scale <= MOST_GUIDED else "guided",
                    n=sum(of.samples for of in group),
                )
            )
    return claims


def _control_claims(limits: Thresholds, controls: dict[str, list[Compared]]) -> list[Claim]:
    control = functools.partial(verdicts.against, limits, kind="control")
    (noise,) = controls["noise from one key"]
    claims = [
        control(
            None, "one-key-noise", "one key for the batch: share of noise that differs", noise.worst, ">=", "shared_noise", n=noise.samples
        )
    ]
    statement = "in DDIM with a trained network, other neighbours: largest difference / max(1, rms)"
    for id, name in (("one-key", "one key"), ("shared-norms", "norms of the batch")):
        for of in controls[name]:
            claims.append(control(of.case.seed, id, f"{name} {statement}", of.worst, ">=", "guided", n=of.samples))
    for of in controls[NEITHER]:
        text = f"the same program with {NEITHER}: largest difference / max(1, rms)"
        claims.append(verdicts.against(limits, of.case.seed, "neither", text, of.worst, "<=", "network", n=of.samples))
    return claims


def _trace_claims(limits: Thresholds, traces: Traces, static: Traces, every: list[Judged]) -> list[Claim]:
    claim = functools.partial(verdicts.against, limits, None)
    most, least = max(judged.traces.traces for judged in every), min(judged.traces.share for judged in every)
    calls, text = sum(judged.traces.calls for judged in every), "steps × guidance × eta × parameters"
    return [
        claim("traces", f"traces of the guided draw over {text}", traces.traces, "<=", n=traces.calls),
        claim("settings", "share of those settings with samples of their own", traces.share, ">=", n=traces.calls),
        claim("traces-samplers", f"most traces of any of {len(every)} samplers, rebuilt for every call", most, "<=", "traces", n=calls),
        claim("settings-samplers", "least share of their settings with samples of their own", least, ">=", "settings", n=calls),
        claim(
            "static-count", "traces where the step count is static", static.traces, ">=", "static_traces", n=static.calls, kind="control"
        ),
    ]


def _pictures(config: Config, folder: RunFolder, compared: list[Compared], controls: dict[str, list[Compared]]) -> Figure:
    """The same eight samples four times."""
    at_once, small, mixed = (draw.ways(config)[name].how for name in ("reference", "small batches", "shuffled batches"))
    control = controls["one key"][0]
    network = next(of for of in compared if of.case.id == control.case.id)
    rows = [network.drawn[at_once], network.drawn[ON_DEVICES], control.drawn[small], control.drawn[mixed]]
    caption = f"The same eight samples: {at_once}, {ON_DEVICES}, and, with one key for the whole batch, {small} and {mixed}"
    images = np.concatenate([images[:8] for images in rows])
    return figures.grid(images, 8, folder.figure("same"), f"{caption}: the last two rows should be equal and are not.")


def _plots(
    limits: Thresholds, folder: RunFolder, compared: list[Compared], controls: dict[str, list[Compared]], every: list[Judged]
) -> list[Figure]:
    networks = [of for of in compared if of.case.scale is not None and of.case.scale <= MOST_GUIDED]
    bars = {how: max(of.by_way[how] for of in networks) for how in networks[0].by_way}
    bars |= {f"control: {name}": min(of.worst for of in controls[name]) for name in ("one key", "norms of the batch")}
    drawn, equal = _nonzero(bars)
    caption = "Samples of trained networks: what each way to draw them changes, over max(1, rms)." + equal
    label, limit = f"largest difference, guidance ≤ {MOST_GUIDED:g}", ("threshold", limits.network)
    shown = [figures.bars(drawn, folder.figure("ways"), caption, x_label=label, log=True, thresholds=[limit])]
    exact, same = _nonzero({judged.name: judged.difference for judged in every if judged.difference is not None})
    if exact:
        caption = "Every sampler with an exact denoiser: the largest change of any way." + same
        label, limit = "largest difference with an oracle", ("threshold", limits.oracle)
        shown.append(figures.bars(exact, folder.figure("samplers"), caption, x_label=label, log=True, thresholds=[limit]))
    return shown


def _nonzero(values: dict[str, float]) -> tuple[dict[str, float], str]:
    """Those that a logarithmic axis can show, and a sentence about the others."""
    zero = [name for name, value in values.items() if value == 0]
    return {name: value for name, value in values.items() if value != 0}, f" Bitwise equal: {', '.join(zero)}." if zero else ""


def _ways_table(compared: list[Compared], controls: dict[str, list[Compared]]) -> Table:
    rows = [(of.case.id, how, value) for of in compared for how, value in of.by_way.items()]
    rows += [(f"control: {name}", f"seed {of.case.seed}", of.worst) for name, each in controls.items() for of in each]
    columns = ("drawn", "way", "largest difference / max(1, rms); of noise: share unequal")
    return Table("Every way against all samples at once", columns, tuple(rows))


def _samplers_table(every: list[Judged]) -> Table:
    columns = ("sampler", "evaluations", "largest difference, oracle", "traces", "calls", "different samples")
    rows = [(of.name, of.evaluations, of.difference, of.traces.traces, of.traces.calls, of.traces.own) for of in every]
    return Table("Every sampler of the library", columns, tuple(rows))
