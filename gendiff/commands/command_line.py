"""The command line: words to frozen dataclasses (by tyro), errors to exit codes."""

import argparse
import contextlib
import dataclasses
import functools
import io
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from gendiff.commands import catalogue as builtin
from gendiff.commands import usage, usage_errors
from gendiff.commands.run_options import RunOptions
from gendiff.core.errors import ConfigError, bounded
from gendiff.runs import configuration, errors, interruption, registry, run_folder, shards, sinks
from gendiff.runs.errors import Preempted
from gendiff.runs.program import STUDIES, program
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue, Command, Experiment, Listed, Tools
from gendiff.runs.reporting import environment

T = TypeVar("T")

MOST_LINES = 12
"""Longest error message, in lines."""
OWN = builtin.EXPERIMENTS.keys()
"""Experiments of the installed package. Where there are others, they are studies."""
USAGE = {
    "images": "train PHOTOS [options]; PHOTOS is a folder of images or sounds, or a file as `train --help` says",
    "tune": "tune ROWS.jsonl [options]; ROWS.jsonl has a JSON object a line, as `tune --help` says",
}


RunArgument = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Compute the results of a run anew from its checkpoints.

    Samples are measured too: evaluate SAMPLES --help explains that for a folder that `sample RUN --shard-size` wrote.
    """

    run: RunArgument
    """Run folder, such as runs/images."""


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Rewrite report.html and print the claims."""

    run: RunArgument
    """Folder with a results.json, such as runs/images."""
    strict: tyro.conf.FlagCreatePairsOff[bool] = False
    """Exit 1 unless every claim and control is PASS, and the run is as its training left it."""


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """List the experiments and the questions they ask, and further commands."""


def main(arguments: Sequence[str], catalogue: Catalogue, tools: Tools = builtin.TOOLS) -> int:
    """Runs one command and returns its exit code. Where other processes take part it ends this process instead of
    returning.

    tools: the commands that belong to no experiment; those of the package, if no others are given.
    """
    code = _ended(arguments, catalogue, tools)
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the end of Python fails likewise
        code = code or errors.exit_code(error) or errors.CLOSED_PIPE
        if code == errors.DISK:
            _complain(_message(error, code))
    if _may_be_connected():
        from gendiff.runs import distributed

        distributed.leave(code)
    return code


def _ended(arguments: Sequence[str], catalogue: Catalogue, tools: Tools) -> int:
    try:
        with interruption.watch(at_once=True):
            return _dispatch(list(arguments), catalogue, tools)
    except SystemExit as error:  # tyro, after it has said why
        return error.code if isinstance(error.code, int) else errors.USAGE
    except BrokenPipeError:  # who reads has read enough, as `head` does
        return errors.CLOSED_PIPE
    except BaseException as error:
        several = False
        if _may_be_connected():
            from gendiff.runs import distributed

            several = distributed.several()
            if distributed.lost(error):
                error = distributed.lost_peer(error)
        code = errors.exit_code(error)
        if code is None and several:
            traceback.print_exception(error)
            return errors.FAILED
        if code is None:
            raise
        _complain(_message(error, code))
        return code


def _may_be_connected() -> bool:
    """False where nothing has loaded what connects this process with others."""
    return "gendiff.runs.distributed" in sys.modules


def _dispatch(arguments: list[str], catalogue: Catalogue, tools: Tools) -> int:
    commands: dict[str, Callable[..., int | None]] = {
        "list": functools.partial(_list, tools),
        "run": _run,
        "train": functools.partial(_typed, "images"),
        "tune": functools.partial(_typed, "tune"),
        "prepare": _prepare,
        "sample": _sample,
        "finalize": functools.partial(_with_shards, "finalize"),
        "evaluate": _evaluate,
        "report": _report,
    }
    progress = Progress(quiet="--quiet" in arguments)
    for word in arguments:
        if (printable := word.encode(errors="backslashreplace").decode()) != word:
            raise ConfigError(f"{printable} is not in UTF-8: rename what it names")
    name, *rest = [word for word in arguments if word != "--quiet"] or [""]
    if name == "--version":
        print(", ".join(f"{package} {version}" for package, version in environment.versions().items()))
        return errors.DONE
    if name in ("", "-h", "--help", "help"):
        print(usage.text(studies=catalogue.keys() != OWN), end="")
        return errors.DONE if name else errors.USAGE
    if name in commands:
        return commands[name](rest, catalogue, progress) or errors.DONE
    if flag := next((word for word in rest if f"{name} {word}" in tools), None):
        name, rest = f"{name} {flag}", [word for word in rest if word != flag]
    if name in tools:
        tool = registry.tool(name, tools)
        tool.call(_options(tool, name, rest), catalogue, progress)
        return errors.DONE
    listed = catalogue.get(name)
    unlisted = isinstance(listed, Listed) and listed.typed != name  # then it has no command of its own
    experiment = None if listed is None or unlisted else registry.load(name, catalogue)
    if experiment is None or experiment.command is None:
        # these are for studies
        typed = [each for each in (*commands, *tools) if catalogue.keys() != OWN or each not in ("list", "run")]
        hint = f"did you mean 'run {name}'?" if name in catalogue else errors.hint(name, typed)
        raise ConfigError(f"no command is called {name!r}; {hint}")
    return experiment.command.call(experiment, _options(experiment.command, name, rest), progress) or errors.DONE


def _list(tools: Tools, arguments: list[str], catalogue: Catalogue, progress: Progress) -> None:
    _parse(ListOptions, "list", arguments)
    groups: dict[str, dict[str, str]] = {}
    for name, entry in catalogue.items():
        chapter = entry.module.split(".")[1] if isinstance(entry, Listed) else ""
        further = " | ".join(each for each in entry.presets if each != "full")
        runs = isinstance(entry, Listed) or entry.runs
        typed = entry.typed or (f"run {name}" if runs else name)
        groups.setdefault(chapter, {})[typed] = f"{entry.question}{further and f' [--preset {further}]'}"
        if isinstance(entry, Experiment) and runs and entry.command is not None:
            groups[chapter][name] = f"the same by its own options: {name} --help"
    groups.setdefault("commands", {}).update({name: registry.tool(name, tools).does for name in tools})
    for chapter, lines in groups.items():
        print(*filter(None, [chapter, *(f"  {typed:<22} {question}" for typed, question in lines.items())]), sep="\n")


def _run(arguments: list[str], catalogue: Catalogue, progress: Progress) -> int:
    if not arguments or arguments[0].startswith("-"):
        return _usage(f"run NAME [options]; NAME is one of: {', '.join(catalogue)}", arguments)
    experiment = _experiment(arguments[0], catalogue)
    if experiment.typed is not None and "--data" in arguments:
        progress.line(
            f"note: this is `{program()} {experiment.typed} DATA` now; `run {experiment.name} --data DATA` will go"
        )
        return _run_experiment(experiment, arguments[1:], progress, experiment.begins)
    return _run_experiment(experiment, arguments[1:], progress)


def _run_experiment(experiment: Experiment, arguments: list[str], progress: Progress, preset: str = "full") -> int:
    if not experiment.runs:
        raise ConfigError(f"{experiment.name} has a command of its own: {program()} {experiment.name} --help")
    options, config = _parse_run(experiment, arguments, preset)
    if options.seed is not None:
        config = configuration.with_seed(config, options.seed)
    logs = sinks.parse(options.log)
    span = None if options.profile is None else run_folder.span(options.profile)
    axes = run_folder.Axes() if options.mesh is None else run_folder.axes(options.mesh)
    _check_used(experiment, options, logs)
    registry.check(experiment, config)
    from gendiff.runs import compile_cache, devices, distributed, runner, sweep  # these load JAX
    from gendiff.runs.reporting import report

    if options.dry_run:
        runner.dry_run(experiment, config, progress)
        return errors.DONE
    compile_cache.use(options.compile_cache, progress.line)
    shard = None if options.shards is None else sweep.shard(options.shards)
    path = options.out or Path("runs") / (experiment.name + ("-smoke" if options.smoke else ""))
    preset = "smoke" if options.smoke else options.preset
    if shard is not None:  # the processes of a sweep need no connection
        with devices.compiled_quickly(options.smoke):
            folder = dataclasses.replace(run_folder.create(path, options.resume), mesh=axes)
            runner.compute_shard(experiment, config, folder, progress, shard, preset=preset, smoke=options.smoke)
        return errors.DONE
    options_of_place = options.distributed, options.coordinator, options.processes, options.process
    distributed.join(*options_of_place, served=experiment.processes, say=progress.line)
    if distributed.first():
        folder = dataclasses.replace(run_folder.create(path, options.resume), profile=span, log=logs, mesh=axes)
    else:
        folder, progress = run_folder.RunFolder(Path(path), options.resume, mesh=axes), Progress(quiet=True)
    with devices.compiled_quickly(options.smoke):
        outcome = runner.run(experiment, config, folder, progress, preset=preset, smoke=options.smoke)
    if outcome is not None:
        print(f"{report.table_text(outcome)}\nreport: {folder.report}", flush=True)
    return errors.DONE


def _check_used(experiment: Experiment, options: RunOptions, logs: Collection[str]) -> None:
    """ConfigError for the first option that nothing would follow."""
    unused: list[tuple[tuple[str, ...], str]] = []
    if experiment.train is None:
        unused.append((("profile", "mesh"), f"{experiment.name} trains nothing"))
    if experiment.sweep is not None:
        log = () if set(logs) <= set(sinks.parse(RunOptions().log)) else ("log",)
        unused.append((("profile", *log), f"the rows of the sweep {experiment.name} are not traced and have no log"))
    if options.shards is not None:
        on = ("distributed",) if options.distributed == "on" else ()
        unused.append(((*on, "coordinator", "processes", "process"), "the processes of --shards need no connection"))
    for names, reason in unused:
        for name in names:
            if (value := getattr(options, name)) is not None:
                raise ConfigError(f"--{name} {value}: {reason}; leave it out")


def _typed(name: str, arguments: list[str], catalogue: Catalogue, progress: Progress) -> int:
    """`train PHOTOS` is `run images --data PHOTOS`, and `tune ROWS` is `run tune --data ROWS`."""
    if not arguments:
        return _usage(USAGE[name], arguments)
    data = [] if arguments[0].startswith("-") else ["--data", arguments.pop(0)]
    experiment = registry.load(name, builtin.EXPERIMENTS)
    return _run_experiment(experiment, [*data, *arguments], progress, experiment.begins)


def _parse_run(experiment: Experiment, arguments: list[str], preset: str) -> tuple[RunOptions, configuration.Config]:
    # these two decide the defaults of all the others
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", nargs="?")
    first.add_argument("--smoke", action="store_true")
    start = first.parse_known_args(arguments)[0]
    if start.preset is not None and start.smoke:
        raise ConfigError(f"--smoke is a configuration of its own: leave out --preset {start.preset}")
    preset = preset if start.preset is None else start.preset
    if preset not in experiment.presets:
        raise ConfigError(
            f"--preset {preset}: {experiment.name} has no such preset; {errors.hint(preset, experiment.presets)}"
        )
    unnamed = tyro.conf.arg(name="")  # leaves the name of the part out of its fields' options
    parts = [("runner", Annotated[RunOptions, unnamed]), ("config", Annotated[experiment.config, unnamed])]
    both = dataclasses.make_dataclass("Run", parts, frozen=True)
    both.__doc__ = f"{experiment.question} Presets: {', '.join(experiment.presets)}."
    default = both(
        RunOptions(preset, mesh=experiment.meshes.get(preset)),
        experiment.smoke if start.smoke else experiment.presets[preset],
    )
    parsed: Any = _parse(  # of a class that is built here
        both, f"{experiment.typed} DATA" if experiment.typed else f"run {experiment.name}", arguments, default=default
    )
    return parsed.runner, parsed.config


def _prepare(arguments: list[str], catalogue: Catalogue, progress: Progress) -> int:
    if not arguments or arguments[0].startswith("-"):
        able = [name for name, entry in catalogue.items() if entry.prepare]
        return _usage(f"prepare NAME [options]; NAME is one of: {', '.join(able) or 'none'}", arguments)
    prepare = registry.load(arguments[0], catalogue).prepare
    if prepare is None:
        raise ConfigError(f"{arguments[0]} has nothing to prepare: run {arguments[0]} begins at once")
    with interruption.watch(at_once=True):
        prepare.call(_options(prepare, f"prepare {arguments[0]}", arguments[1:]), progress)
    return errors.DONE


def _usage(text: str, arguments: list[str]) -> int:
    asks_help = bool(arguments) and arguments[0] in ("-h", "--help")
    print(f"usage: {program()} {text}", file=sys.stdout if asks_help else sys.stderr)
    return errors.DONE if asks_help else errors.USAGE


def _sample(arguments: list[str], catalogue: Catalogue, progress: Progress) -> int:
    if not arguments or arguments[0].startswith("-"):
        runs = sorted(str(path.parent) for path in Path("runs").glob("*/config.json"))
        example = f", as in: {program()} sample {runs[0]} --help" if runs else "; `train PHOTOS` makes one"
        return _usage(
            "sample RUN [options]; RUN is a run folder, and sample RUN --help explains the options that it "
            f"takes{example}",
            arguments,
        )
    folder = run_folder.existing(arguments[0])
    stored = configuration.read(folder)
    experiment = _experiment(stored.experiment, catalogue)
    if experiment.sample is None:
        raise ConfigError(f"experiment {experiment.name!r} has nothing to sample from")
    options = _options(experiment.sample, f"sample {arguments[0]}", arguments[1:])
    config = configuration.restore(stored, experiment.config, folder)
    from gendiff.runs import compile_cache, last_checkpoints

    compile_cache.use(say=progress.line)
    for remark in last_checkpoints.remarks(folder):
        progress.line(f"note: {remark}")
    with interruption.watch(at_once=True):
        experiment.sample.call(config, folder, options, progress)
    return errors.DONE


def _with_shards(
    command: Literal["finalize", "evaluate"], arguments: list[str], catalogue: Catalogue, progress: Progress
) -> int:
    """What the experiment does with the folder of shards that the first argument names."""
    if not arguments or arguments[0].startswith("-"):
        samples = "a folder that `sample RUN --shard-size` wrote"
        return _usage(
            f"{command} SAMPLES [options]; SAMPLES is {samples}, and {command} SAMPLES --help explains the options",
            arguments,
        )
    folder = shards.existing(arguments[0])
    sample = _experiment(folder.manifest.experiment, catalogue).sample
    function: Command | None = getattr(sample, command, None)
    if function is None:
        raise ConfigError(f"experiment {folder.manifest.experiment!r} has no {command} for samples")
    with interruption.watch(at_once=True):
        function.call(folder, _options(function, f"{command} {arguments[0]}", arguments[1:]), progress)
    return errors.DONE


def _evaluate(arguments: list[str], catalogue: Catalogue, progress: Progress) -> int:
    if arguments and (shards.is_folder(arguments[0]) or "--reference" in arguments):  # which no run takes
        return _with_shards("evaluate", arguments, catalogue, progress)
    folder = run_folder.existing(_parse(EvaluateOptions, "evaluate", arguments).run, writable=True)
    experiment = _experiment(configuration.read(folder).experiment, catalogue)
    from gendiff.runs import compile_cache, runner
    from gendiff.runs.reporting import report

    compile_cache.use(say=progress.line)
    print(f"{report.table_text(runner.evaluate(experiment, folder, progress))}\nreport: {folder.report}", flush=True)
    return errors.DONE


def _report(arguments: list[str], catalogue: Catalogue, progress: Progress) -> int:
    options = _parse(ReportOptions, "report", arguments)
    folder = run_folder.existing(options.run, writable=True)
    from gendiff.runs import runner
    from gendiff.runs.reporting import report

    outcome, notice = runner.rewrite_report(folder, {**builtin.EXPERIMENTS, **catalogue})
    print(f"{report.table_text(outcome, notice)}\nreport: {folder.report}", flush=True)
    if options.strict and (reason := runner.shortfall(outcome) or notice):
        print(f"exit 1 by --strict: {reason}", file=sys.stderr, flush=True)
        return errors.FAILED
    return errors.DONE


def _experiment(name: str, catalogue: Catalogue) -> Experiment:
    """The one of this name. ConfigError, with where studies are, in an installed package."""
    if name not in catalogue and catalogue.keys() == OWN:
        raise ConfigError(
            f"{name!r} is no experiment of the package; if it is a study, type {STUDIES} in a clone of the repository"
        )
    return registry.load(name, builtin.EXPERIMENTS if name in OWN - catalogue.keys() else catalogue)


def _options(command: Command, typed: str, arguments: list[str]) -> object:
    """What was typed, in its ranges."""
    options: object = _parse(command.options, typed, arguments)
    if command.check is not None:
        command.check(options)
    return options


def _parse(kind: type[T], command: str, arguments: list[str], default: T | None = None) -> T:
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            parse = functools.partial(tyro.cli, kind, prog=f"{program()} {command}", args=arguments)
            parsed: T = parse() if default is None else parse(default=default)
            return parsed
    finally:
        if text := message.getvalue():
            _complain(usage_errors.line(kind, default, arguments, text) or text)


def _complain(text: str) -> None:
    """The text on standard error, cut to `MOST_LINES`."""
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = [f"… and {len(lines) - MOST_LINES + 1} more lines"]
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _message(error: BaseException, code: int) -> str:
    text = bounded(str(error))
    if code == errors.DISK and isinstance(error, OSError) and isinstance(error.filename, str | os.PathLike):
        path = os.fspath(error.filename)
        free = shutil.disk_usage(path if os.path.exists(path) else os.path.dirname(path) or ".").free
        text = f"{text}; {free} bytes are free there"
    if code == errors.USAGE and isinstance(error, OSError):
        text = f"{text}: choose another place"
    if code == errors.PREEMPTED:
        ended = error if isinstance(error, Preempted) else Preempted("SIGINT")
        return f"interrupted by {text or 'SIGINT'}: {ended.kept}, {ended.again}"
    return f"error: {text}"
