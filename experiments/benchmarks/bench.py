"""Is the library faster than what people would use instead?

    make bench                                     both environments, every case, at most 30 minutes on 2 idle cores
    python -m experiments bench dit_sample         ours alone
    python -m experiments bench --peers --device gpu

Each side runs in a process of its own, with the same inputs, weights, precision and number of threads. Outputs are compared first, then
the sides are timed in turn; the peer's fastest mode counts. The peer is torch with diffusers, eager, channels-last and compiled.
denoising-diffusion-pytorch and k-diffusion are not among the cases: on the same torch network they differ from diffusers only in a few
small operations a step, and their own networks are other architectures.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.benchmarks import cases, findings, setting, side_process, tables
from experiments.benchmarks.findings import Findings
from experiments.benchmarks.setting import Config, Setting
from experiments.benchmarks.side_process import SideError
from experiments.framework.progress import Progress
from experiments.framework.registry import Experiment, Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import report, results
from experiments.reporting.environment import environment
from experiments.reporting.results import Results, Table


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Measures every chosen case; one that fails is a claim that fails, and the others go on."""
    chosen = cases.chosen(config.cases, config.device)
    peer = setting.peer_python() if config.peers else None
    found: list[Findings] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        told = Setting(config, Path(place), progress, peer)
        sides = _about(told)
        for case in chosen:
            with progress.phase(case.name):
                progress.line(f"{case.name}: {case.question}")
                try:
                    found.append(case.measure(told))
                except SideError as error:
                    found.append(Findings(failed={case.name: str(error)}))
                for line in tables.lines(found[-1]):
                    progress.line(line)
    claims = [claim for each in found for claim in findings.claims(each, config.thresholds)]
    return Outcome(tuple(claims), tables.figures(found, config.thresholds, folder.path), (*tables.tables(found), sides))


def measure(config: Config, folder: RunFolder, progress: Progress, smoke: bool = False) -> Results:
    """Measures anew, whatever the folder holds, and writes results.json and report.html."""
    code, begin = environment(), time.monotonic()
    folder.path.mkdir(parents=True, exist_ok=True)
    found = evaluate(config, folder, progress)
    outcome = results.conclude(
        "bench",
        EXPERIMENT.question,
        config,
        found.claims,
        seeds=(),
        seconds=progress.seconds,
        environment=code,
        figures=found.figures,
        tables=found.tables,
        smoke=smoke,
    )
    results.write(outcome, folder.path)
    report.write(folder.path)
    progress.line(f"bench: {time.monotonic() - begin:.0f} s")
    return outcome


def _about(told: Setting) -> Table:
    """Versions and threads of both sides."""
    with side_process.start(side_process.OURS, variables=told.variables) as ours:
        rows = [("ours", name, _plain(value)) for name, value in ours.ask("about").items()]
    if told.peer is not None:
        with contextlib.closing(side_process.start(side_process.PEER, told.peer, told.variables)) as peer:
            rows += [("torch", name, _plain(value)) for name, value in peer.ask("about").items()]
    return Table("Both sides", ("side", "what", "value"), tuple(rows))


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else value


_FULL = Config()

EXPERIMENT = Experiment(
    name="bench",
    question="Is the library faster than what people would use instead?",
    config=Config,
    presets={"full": _FULL},
    smoke=dataclasses.replace(_FULL, cases=("digits_sample_16",), pairs=2, call_seconds=0.02, tiny=True),
    train=None,
    evaluate=evaluate,
)
