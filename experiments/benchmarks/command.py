"""The command `bench`: the only door to the measurements of speed."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.benchmarks import bench, cases
from experiments.framework.progress import Progress
from experiments.framework.registry import Command
from experiments.framework.run_folder import RunFolder
from experiments.reporting import report


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """Measure how fast the library is. Without a CASE, all of them."""

    cases: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE")] = ()
    """Names of cases; `bench list` shows them."""
    peers: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare with torch and diffusers, which need the environment .venv-peers (make bench makes it)."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Where both sides run: cpu in float32, gpu in bfloat16."""
    smoke: tyro.conf.FlagCreatePairsOff[bool] = False
    """Tiny shapes, to see that everything runs; the verdict is INCONCLUSIVE."""
    pairs: int = 9
    """Rounds in which each way is timed once; below 9 no ratio counts as reached."""
    out: str | None = None
    """Folder of the results; None is runs/bench (runs/bench-smoke with --smoke). What it holds is measured anew."""


def call(options: BenchOptions, progress: Progress) -> None:
    """Measures the chosen cases and prints the claims."""
    if options.cases == ("list",):
        for case in cases.ALL:
            print(f"{case.name:<20} {case.device}  {case.question}")
        return
    changes: dict[str, Any] = {"call_seconds": 0.02, "tiny": True} if options.smoke else {}
    config = dataclasses.replace(
        bench.EXPERIMENT.presets["full"], cases=options.cases, peers=options.peers, device=options.device, pairs=options.pairs, **changes
    )
    folder = RunFolder(Path(options.out or Path("runs") / ("bench-smoke" if options.smoke else "bench")))
    outcome = bench.measure(config, folder, progress, smoke=options.smoke)
    print(report.table_text(outcome) if outcome.claims else "nothing was compared: add --peers for claims", flush=True)
    print(f"report: {folder.report}", flush=True)


EXPERIMENT = dataclasses.replace(bench.EXPERIMENT, command=Command(BenchOptions, call))
