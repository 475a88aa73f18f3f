"""Is the library faster than what people would use instead?

    make bench                                     both environments, every case, at most 30 minutes on 2 idle cores
    python -m experiments bench dit_sample         ours alone
    python -m experiments bench --peers --device gpu
    python -m experiments bench unet32_sample --against ../older    this code and that of another checkout in turn

Each side runs in a process of its own, with the same inputs, weights, precision and number of threads. Outputs are compared first, then
the sides are timed in turn; the peer's fastest mode counts. The peer is torch with diffusers or transformers: eager, channels-last or with
a static cache, and compiled. Cases of language models need the weights of SmolLM2, which `make bench` installs; without them they are left
out. One of them has llama.cpp beside ours, where the peers' environment holds llama-cpp-python.
denoising-diffusion-pytorch and k-diffusion are not among the cases: on the same torch network they differ from diffusers only in a few
small operations per step, and their own networks are other architectures.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated

import tyro

from experiments.benchmarks import cases, config, duel, findings
from experiments.benchmarks.config import Config, Setting
from experiments.benchmarks.findings import Findings
from experiments.benchmarks.side_process import SideError
from experiments.framework import run_lock, runner
from experiments.framework.progress import Progress
from experiments.framework.registry import Command, Experiment, Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import report, results
from experiments.reporting.environment import environment
from experiments.reporting.results import Results, Table
from gendiff.core.errors import ConfigError


def evaluate(chosen: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Measures every chosen case; one that fails is a claim that fails, and the others go on."""
    limits, measured, rows = chosen.thresholds, [], []
    peer = config.peer_python() if chosen.peers else None
    before = config.other_checkout(chosen.against) if chosen.against else None
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        setting = Setting(chosen, Path(place), peer, before)
        for side in ("ours", *(["torch"] if peer else []), *(["before"] if before else [])):
            with setting.start(side) as process:
                about = process.ask("about")
            rows += [(side, name, ", ".join(map(str, value)) if isinstance(value, list) else value) for name, value in about.items()]
        for case in cases.chosen(chosen.cases, chosen.device):
            with progress.phase(case.name):
                progress.line(f"{case.name}: {case.question}")
                found = _measured(case, setting)
                for line in findings.lines(found, limits):
                    progress.line(line)
            measured.append(found)
    tables = (*findings.tables(measured, limits), Table("Both sides", ("side", "what", "value"), tuple(rows)))
    claims = tuple(claim for each in measured for claim in findings.claims(each, limits))
    return Outcome(claims, findings.figures(measured, limits, folder.path), tables)


def _measured(case: duel.Case, setting: Setting) -> Findings:
    missing = "" if setting.config.tiny or case.absent is None else case.absent()
    if missing:
        return Findings(skipped={case.name: missing})
    try:
        return Findings((duel.fight(case, setting),)) if case.measure is None else case.measure(case, setting)
    except SideError as error:
        return Findings(failed={case.name: str(error)})


def check(chosen: Config) -> None:
    """ConfigError for a case that there is not, and for an environment or a checkout that is absent."""
    cases.chosen(chosen.cases, chosen.device)
    if chosen.peers:
        config.peer_python()
    if chosen.against:
        config.other_checkout(chosen.against)


@dataclasses.dataclass(frozen=True)
class BenchOptions(Config):
    """Measure how fast the library is. Without a CASE, all of them."""

    cases: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE")] = ()
    """Names of cases; `bench list` shows them."""
    peers: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare with torch and diffusers, which need the environment .venv-peers (make bench makes it)."""
    smoke: tyro.conf.FlagCreatePairsOff[bool] = False
    """Tiny shapes and short calls, to see that everything runs; the verdict is INCONCLUSIVE."""
    out: str | None = None
    """Folder of the results; None is runs/bench (runs/bench-smoke with --smoke). What it holds is measured anew."""


def call(options: BenchOptions, progress: Progress) -> None:
    """Measures the chosen cases and prints the claims."""
    if options.cases == ("list",):
        for case in cases.ALL:
            print(f"{case.name:<20} {case.device}  {case.question}")
        return
    chosen = Config(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Config)})
    if options.smoke:
        chosen = dataclasses.replace(chosen, call_seconds=0.02, tiny=True)
    runner.check(EXPERIMENT, chosen)
    folder = own_folder(options.out or Path("runs") / ("bench-smoke" if options.smoke else "bench"))
    with run_lock.held(folder.path, progress.line):
        outcome = measure(chosen, folder, progress, smoke=options.smoke)
    print(report.table_text(outcome) if outcome.claims else "nothing was compared: add --peers for claims", flush=True)
    print(f"report: {folder.report}", flush=True)


def own_folder(path: str | Path) -> RunFolder:
    """The folder at `path`, made if absent. ConfigError where it holds anything but the results of a bench."""
    folder = RunFolder(Path(path))
    if folder.path.is_file():
        raise ConfigError(f"{folder.path} is a file, not a folder: choose another with --out")
    there = sorted(entry.name for entry in folder.path.iterdir() if not entry.name.startswith(".")) if folder.path.exists() else []
    if there and not (folder.results.exists() and results.read(folder.path).name == "bench"):
        raise ConfigError(f"{folder.path} holds {there[0]}, and no results of a bench: choose another with --out")
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


def measure(chosen: Config, folder: RunFolder, progress: Progress, smoke: bool = False) -> Results:
    """Measures anew, whatever the folder holds, and writes results.json and report.html."""
    folder.path.mkdir(parents=True, exist_ok=True)
    # which cases on which sides is what to measure; the numbers must be the preset's for a verdict
    named = dataclasses.replace(chosen, cases=(), peers=False, against="", device="cpu") == Config()
    return runner.conclude(EXPERIMENT, chosen, folder, progress, environment(), smoke, named)


EXPERIMENT = Experiment(
    name="bench",
    question="Is the library faster than what people would use instead?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(cases=("digits_sample_16",), pairs=2, call_seconds=0.02, tiny=True),
    train=None,
    evaluate=evaluate,
    command=Command(BenchOptions, call),
    runs=False,
    check=check,
)
