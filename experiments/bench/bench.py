"""Is the library faster than what people would use instead?

    make bench                                     both environments, every case
    python -m experiments bench dit_sample         ours alone
    python -m experiments bench --peers --device gpu
    python -m experiments bench --device accelerator       rates beside the bounds of the device that is here
    python -m experiments bench unet32_sample --against ../older    this code and that of another checkout in turn
    python -m experiments bench dit_sample --check         fails where a ratio is below the committed one

Each side runs in a process of its own, with the same inputs, weights, precision and number of threads. Outputs are
compared first, then the sides are timed in turn; the peer's fastest mode counts. The peer is torch with diffusers or
transformers, eager, channels-last and compiled.
denoising-diffusion-pytorch and k-diffusion are not among the cases: on the same torch network they differ from
diffusers only in a few small operations per step, and their own networks are other architectures.
"""

import dataclasses
import functools
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import tyro

from experiments.bench import config, regressions
from experiments.bench.config import AnyConfig, Config, Setting
from experiments.bench.side import SideError
from experiments.bench.workloads import Case
from gendiff.core.errors import ConfigError
from gendiff.runs import errors, registry, run_folder, run_lock
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Command, Experiment, Outcome
from gendiff.runs.reporting import results
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.environment import cpu, environment
from gendiff.runs.reporting.results import Results, Table
from gendiff.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from experiments.bench.findings import Findings

Cases: TypeAlias = Callable[[], tuple[Case, ...]]
"""All cases of a bench, whose modules load JAX."""


def evaluate(all_cases: Cases, chosen: AnyConfig, folder: RunFolder, progress: Progress) -> Outcome:
    """Measures every chosen case; one that fails is a claim that fails, and the others go on."""
    from experiments.bench import cases, findings

    limits, measured, rows = chosen.thresholds, [], []
    peer = config.peer_python() if chosen.peers else None
    before = config.other_checkout(chosen.against) if chosen.against else None
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        setting = Setting(chosen, Path(temporary), peer, before, time.monotonic() + 60 * chosen.minutes)
        for side in ("ours", *(["torch"] if peer else []), *(["before"] if before else [])):
            with setting.start(side) as process:
                about = process.ask("about")
            _check_devices(chosen, about)
            rows += [
                (side, name, ", ".join(map(str, value)) if isinstance(value, list) else value)
                for name, value in about.items()
            ]
        for case in cases.chosen(all_cases(), chosen.cases, chosen.device):
            with progress.phase(case.name):
                progress.line(f"{case.name}: {case.question}")
                finding = _measured(case, setting)
                for line in findings.lines(finding, limits):
                    progress.line(line)
            measured.append(finding)
    tables = (*findings.tables(measured, limits), Table("Both sides", ("side", "what", "value"), tuple(rows)))
    claims = tuple(claim for each in measured for claim in findings.claims(each, limits))
    return Outcome(claims, findings.figures(measured, limits, folder.path), tables)


def _check_devices(chosen: AnyConfig, about: dict[str, Any]) -> None:
    """ConfigError where the cases of an accelerator would be measured on a processor."""
    if chosen.device == "accelerator" and not chosen.tiny and all(" cpu: " in each for each in about["devices"]):
        raise ConfigError(
            "--device accelerator: JAX finds no GPU or TPU here; `python -m experiments bench --device accelerator "
            "--smoke` runs tiny networks on a CPU"
        )


def _measured(case: Case, setting: Setting) -> "Findings":
    from experiments.bench import duel
    from experiments.bench.findings import Findings

    missing = "" if setting.config.tiny or case.absent is None else case.absent()
    if missing:
        return Findings(skipped={case.name: missing})
    try:
        return Findings((duel.fight(case, setting),)) if case.measure is None else case.measure(case, setting)
    except SideError as error:
        return Findings(failed={case.name: str(error)})
    except Exception as error:  # an hour of other cases must not be lost with it
        traceback.print_exc()
        return Findings(failed={case.name: f"{type(error).__name__}: {error}"})


def check(all_cases: Cases, chosen: AnyConfig) -> None:
    """ConfigError for a case that there is not, and for an environment or a checkout that is absent."""
    if chosen.device == "accelerator" and (chosen.peers or chosen.against):
        raise ConfigError("--device accelerator measures this code alone: leave out --peers and --against")
    if chosen.peers:
        config.peer_python()
    if chosen.against:
        config.other_checkout(chosen.against)
    from experiments.bench import cases

    cases.chosen(all_cases(), chosen.cases, chosen.device)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a command asks for beside the numbers."""

    cases: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE")] = ()
    """Names of cases; `list` shows them."""
    peers: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare with torch and diffusers, which need the environment .venv-peers (make bench makes it)."""
    smoke: tyro.conf.FlagCreatePairsOff[bool] = False
    """Tiny shapes and short calls, to see that everything runs; the verdict is INCONCLUSIVE."""
    check: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare each ratio with that of the committed run on this processor, and exit 1 where one fell by more than 10 %
    and its interval does not explain that. It turns on --peers.
    """
    measured: str | None = None
    """With --check: folder of a run of this bench, such as runs/bench, whose ratios are compared. Nothing is measured.
    """
    out: str | None = None
    """Folder of the results; None is runs/ and the command's name (and -smoke with --smoke). What it holds is measured
    anew.
    """


@dataclasses.dataclass(frozen=True)
class BenchOptions(Asked, Config):
    """Measure how fast the library is. Without a CASE, all of them."""


def bench(
    name: str,
    full: AnyConfig,
    smoke: AnyConfig,
    options: type,
    all_cases: Cases,
    answer: Answer,
) -> Experiment:
    """An experiment that measures these cases, with a command of its own."""

    def call(experiment: Experiment, options: Any, progress: Progress) -> int:
        if options.cases == ("list",):
            for case in all_cases():
                print(f"{case.name:<20} {case.device}  {case.question}")
            return errors.DONE
        if options.measured is not None:
            return _check_measured(experiment, options)
        chosen = type(full)(**{field.name: getattr(options, field.name) for field in dataclasses.fields(full)})
        if options.smoke:
            chosen = dataclasses.replace(chosen, call_seconds=0.02, tiny=True)
        if options.check:
            chosen = dataclasses.replace(chosen, peers=True)
        return _measure_and_tell(experiment, chosen, options, progress)

    return Experiment(
        name=name,
        question="",
        config=type(full),
        presets={"full": full},
        smoke=smoke,
        train=None,
        evaluate=functools.partial(evaluate, all_cases),
        command=Command(options, call),
        runs=False,
        check=functools.partial(check, all_cases),
        answer=answer,
    )


def _measure_and_tell(experiment: Experiment, chosen: AnyConfig, options: Asked, progress: Progress) -> int:
    """Measures the chosen cases and prints the claims. Returns the exit code."""
    before = regressions.committed(experiment.name, cpu(), chosen) if options.check else None
    registry.check(experiment, chosen)
    from gendiff.runs.reporting import report

    name = experiment.name
    folder = own_folder(options.out or Path("runs") / (f"{name}-smoke" if options.smoke else name), name)
    with run_lock.held(folder.path, progress.line):
        outcome = measure(experiment, chosen, folder, progress, smoke=options.smoke)
    advice = "" if chosen.device == "accelerator" else ": add --peers for claims"
    print(report.table_text(outcome) if outcome.claims else f"nothing was compared{advice}", flush=True)
    print(f"report: {folder.report}", flush=True)
    return errors.DONE if before is None else _check_ratios(before, outcome)


def _check_measured(experiment: Experiment, options: Asked) -> int:
    """The exit code of a check of results that lie in a folder."""
    if options != dataclasses.replace(type(options)(), check=True, measured=options.measured):
        raise ConfigError(f"--measured {options.measured} needs --check and takes no other option: nothing is measured")
    outcome = results.read(str(options.measured))
    if outcome.name != experiment.name:
        raise ConfigError(f"--measured {options.measured} holds results of {outcome.name}, not of {experiment.name}")
    before = regressions.committed(experiment.name, str(outcome.machine["cpu"]), outcome.config)
    return _check_ratios(before, outcome)


def _check_ratios(before: Results, outcome: Results) -> int:
    """Prints the ratios of both runs, and returns the exit code."""
    from gendiff.runs.reporting import report

    comparisons = regressions.compare(before, outcome)
    print(*report.table_lines(regressions.table(before, comparisons)), sep="\n", flush=True)
    if regressed := [each.name for each in comparisons if each.regressed]:
        print(f"exit 1 by --check: {', '.join(regressed)}", file=sys.stderr, flush=True)
        return errors.FAILED
    return errors.DONE


def own_folder(path: str | Path, name: str) -> RunFolder:
    """The folder at `path`, made if absent. ConfigError where it holds anything but results of that name."""
    folder = RunFolder(run_folder.for_findings(path, results.FILE))
    if folder.results.exists() and (other := results.read(folder.path).name) != name:
        raise ConfigError(f"{folder.path} holds those of {other}, and no results of {name}: choose another with --out")
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


def measure(
    experiment: Experiment, chosen: AnyConfig, folder: RunFolder, progress: Progress, smoke: bool = False
) -> Results:
    """Measures anew, whatever the folder holds, and writes results.json and report.html."""
    from gendiff.runs import devices, runner  # load JAX

    folder.path.mkdir(parents=True, exist_ok=True)
    if chosen.device != "cpu":
        devices.only_cpu()  # the device, or most of its memory, would be taken from the processes that measure
    # which cases on which sides is what to measure; the numbers must be the preset's for a verdict
    named = dataclasses.replace(chosen, cases=(), peers=False, against="", device="cpu") == experiment.presets["full"]
    return runner.conclude(experiment, chosen, folder, progress, environment(), smoke, named)


ANSWER = Answer(
    roles={
        "*_agrees": "check",
        "*_race_ours": "check",
        "*_race_diffusers": "check",
        "serve_load_lost": "check",
        "*_ran": "check",
        "*": "aim",
    },
    text="on AMD mostly: a U-Net samples {unet32_sample:.1f} and a DiT {dit_sample:.1f} times as fast as in torch, "
    "DCGAN trains {dcgan_train:.1f} times as fast",
    before=(
        Change(
            "2026-11-25",
            "6e8b8cd",
            "First full run, on Intel: the U-Net sampled 1.16 and trained 0.67 times as fast as in torch; "
            "22 of 31 claims passed, and every ratio of times but that of a cold start missed its aim.",
            "It measured the first state of the library.",
        ),
        Change(
            "2026-11-25",
            "e03b9d8",
            "Second full run, on Intel: the U-Net trained 0.82 times as fast as in torch; 23 of 31 claims passed.",
            "Training had become 1.2 times as fast, and small networks 1.4 times.",
        ),
        Change(
            "2026-11-28",
            "b132bd9",
            "Aims depend on the maker of the processor. The U-Net samples 1.5 times as fast on AMD and 1.2 times "
            "on Intel, instead of 1.25. Training is 1.05 times (U-Net) and 1.5 times (DiT) as fast on AMD, and "
            "as fast on Intel, instead of 1.1 times.",
            "No reason is recorded. On Intel both former aims had been missed.",
        ),
        Change(
            "2026-11-28",
            "a97929c",
            "Full run on Intel, with a race to equal quality and more networks: 33 of 45 claims passed.",
            "Cases had been added.",
        ),
        Change(
            "2026-11-29",
            "fcde671",
            "Pictures of the latent race may differ by 0.002 instead of 0.0001.",
            "Of 100 draws 99 differed by at most 0.00007, and one by 0.00036: its path makes rounding larger.",
        ),
        Change(
            "2026-11-30",
            "2c6018de",
            "Races to equal quality were to be 5 times as fast and the network of digits 3 times; now as fast.",
            "Both sides compute the same: arithmetic excludes the former aims. The measured ratios did not change.",
        ),
        Change(
            "2026-11-30",
            "fd33f76b",
            "Training steps of language models are to be compared with the peer in float64: ours may differ from it "
            "4 times as much as the peer in float32 does. Their outputs were to differ by at most 0.0001.",
            "A step of AdamW makes rounding larger, most of all with 25 M parameters. The next run measures it.",
        ),
    ),
)


def all_cases() -> tuple[Case, ...]:
    """Those of `bench`."""
    from experiments.bench import cases

    return cases.ALL


EXPERIMENT = bench(
    "bench",
    Config(),
    Config(cases=("digits_sample_16",), pairs=2, call_seconds=0.02, tiny=True),
    BenchOptions,
    all_cases,
    ANSWER,
)
