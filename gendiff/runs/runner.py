"""What `run`, `evaluate` and `report` do with an experiment and a folder; of the science they know nothing."""

import contextlib
import shutil
from collections.abc import Iterator

from gendiff.core.errors import ConfigError, DataError
from gendiff.runs import (
    configuration,
    devices,
    distributed,
    dtypes,
    goodput,
    interruption,
    last_checkpoints,
    partial_results,
    registry,
    resume_command,
    run_lock,
)
from gendiff.runs.configuration import Config, Resolved
from gendiff.runs.errors import DeviceError
from gendiff.runs.progress import Progress, stage_seconds
from gendiff.runs.registry import Catalogue, Experiment
from gendiff.runs.reporting import answers, json_files, report, results
from gendiff.runs.reporting.environment import Environment, environment
from gendiff.runs.reporting.results import Results
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.sweep import Shard


def run(
    experiment: Experiment, config: Config, folder: RunFolder, progress: Progress, *, preset: str, smoke: bool
) -> Results | None:
    """Trains and evaluates, going on where an earlier process stopped; a finished run is only read.

    Several processes train together; process 0 alone does all the rest, and on the others the result is None.
    Raises ConfigError where the folder is in use or holds another configuration, and whatever the experiment raises.
    """
    seeds = configuration.seeds(config)
    with _unmade_if_refused(folder):
        devices.local()
        distributed.check_served(experiment.processes)
        config, code = dtypes.resolve(config, progress), environment()
        requested = _wanted(experiment, config, code, preset, smoke)
        distributed.check_equal(
            "the configuration", {**vars(requested), "versions": code["versions"], "out": str(folder.path)}
        )
    if not distributed.first():
        _train_with_the_first(experiment, config, folder, progress)
        return None
    with distributed.leading() as lead, run_lock.held(folder.path, progress.line), _forgotten_if_empty(folder):
        progress.timings = folder.timings
        stored = configuration.settle(folder, requested)
        if folder.results.exists():
            outcome = results.read(folder.path)
            if not folder.report.exists():  # the process ended before it was written
                report.write(folder.path, outcome)
            progress.line(
                f"{folder.path} is finished already" + (f": {outcome.verdict}" if outcome.verdict != "NONE" else "")
            )
            return outcome
        folder.tidy()
        _tell_of_differences(stored, requested, progress)
        progress.line(
            f"{experiment.name}: {experiment.question}\nseeds {', '.join(map(str, seeds)) or 'none'}, folder "
            f"{folder.path}"
        )
        with interruption.watch(at_once=True):
            lead.go()
            if experiment.train is not None:
                with progress.phase("train"):
                    experiment.train(config, folder, progress)
            distributed.part()
            return conclude(experiment, config, folder, progress, code, smoke)


def compute_shard(
    experiment: Experiment,
    config: Config,
    folder: RunFolder,
    progress: Progress,
    shard: Shard,
    *,
    preset: str,
    smoke: bool,
) -> None:
    """Computes those rows of a sweep that a shard names, beside processes that compute others; nothing is judged.

    Raises ConfigError where the experiment is no sweep or the folder holds another configuration, and whatever the
    experiment raises.
    """
    with _unmade_if_refused(folder):
        if experiment.sweep is None:
            raise ConfigError(
                f"--shards {shard.number}/{shard.parts}: {experiment.name} is no sweep of many small trainings"
            )
        config = dtypes.resolve(config, progress)
        devices.local()
        requested = _wanted(experiment, config, environment(), preset, smoke)
        _tell_of_differences(configuration.settle(folder, requested), requested, progress)
    with interruption.watch(at_once=True):
        experiment.sweep(config, folder, progress, shard)
    progress.line(
        "when the rows of all shards are finished, this judges them:\n  "
        f"{resume_command.command(experiment, requested, folder)}"
    )


def dry_run(experiment: Experiment, config: Config, progress: Progress) -> None:
    """Prints what a run would do. ConfigError where the experiment has no plan to print."""
    if experiment.plan is None:
        raise ConfigError(f"--dry-run: {experiment.name} has no plan to print; --smoke runs everything in seconds")
    devices.only_cpu()
    experiment.plan(dtypes.resolve(config, progress), progress)


def evaluate(experiment: Experiment, folder: RunFolder, progress: Progress) -> Results:
    """Computes the results of a finished run anew from its checkpoints.

    Raises as `run` does, ConfigError with the command that goes on for a run that has not finished, and as
    `last_checkpoints.read` for one that is not as its trainings left it.
    """
    stored = configuration.read(folder)
    if not folder.results.exists() and (owner := run_lock.running(folder.path)) is not None:
        there = f"process {owner.pid} on host {owner.host} has been running it since {owner.start}"
        raise ConfigError(f"{folder.path} has not finished, and {there}: wait for it; `report` shows how far it is")
    if not folder.results.exists():
        raise ConfigError(
            f"{folder.path} has not finished; this goes on with it:\n  "
            f"{resume_command.command(experiment, stored, folder)}"
        )
    config = configuration.restore(stored, experiment.config, folder)
    with run_lock.held(folder.path, progress.line), interruption.watch(at_once=True):
        progress.timings = folder.timings
        devices.local()
        distributed.check_served(False)
        last_checkpoints.read(experiment, folder)  # before anything is computed
        return conclude(experiment, config, folder, progress, environment(), stored.smoke)


def rewrite_report(folder: RunFolder, catalogue: Catalogue) -> tuple[Results, str]:
    """(results, notice); writes report.html from results.json, which is all that it needs: a committed folder of
    results will do.

    Of a run that has not finished it shows what there is. The notice has what `last_checkpoints.remarks` says. Raises
    DataError where results or figures are missing.
    """
    if folder.config.exists() and not folder.results.exists():
        stored = configuration.read(folder)
        outcome, notice = partial_results.outcome(registry.load(stored.experiment, catalogue), stored, folder)
    else:
        outcome = results.read(folder.path)
        notice = report.caution(outcome)
    if folder.config.exists():
        remarks = last_checkpoints.remarks(folder, finished=folder.results.exists())
        notice = " ".join(filter(None, [notice, *(f"Note: {each}." for each in remarks)]))
    report.write(folder.path, outcome, notice)
    return outcome, notice


def shortfall(outcome: Results) -> str:
    """Why not every claim and control holds; "" where all do."""
    if not outcome.judged or not outcome.claims:
        return "this is a smoke run, and its numbers mean nothing" if outcome.smoke else "this run has no verdict"
    summaries = outcome.summaries("claim", "control")
    return ", ".join(f"{summary.id} is {summary.verdict}" for summary in summaries if summary.verdict != "PASS")


def conclude(
    experiment: Experiment,
    config: Config,
    folder: RunFolder,
    progress: Progress,
    code: Environment,
    smoke: bool,
    named: bool | None = None,
) -> Results:
    """Evaluates, and writes results.json and report.html. code: what the environment was before the run.

    named: whether there are verdicts; None: where the config is one of the presets. Raises as `last_checkpoints.read`
        does.
    """
    if named is None:
        named = json_files.encode(config) in map(json_files.encode, experiment.presets.values())
    evaluation = experiment.evaluate(config, folder, progress)
    trained = {"train": stage_seconds(folder.timings, "train", progress.line)} if experiment.train is not None else {}
    measured = results.conclude(
        experiment.name,
        experiment.question,
        config,
        seeds=configuration.seeds(config),
        seconds=progress.seconds | trained,  # training may have taken several processes
        environment=code,
        smoke=smoke,
        named=named,
        checkpoints=last_checkpoints.read(experiment, folder),
        **vars(evaluation) | {"tables": (*evaluation.tables, *goodput.tables(folder))},
    )
    full = measured.config == json_files.encode(experiment.presets["full"])
    try:  # another preset may lack a number that the sentences name
        outcome = answers.conclude(measured, experiment.answer, sentences=full)
    except answers.NotMeasuredError as error:  # so may a bench of one side, or one in which a case failed
        progress.line(f"the results have no answer: {error}")
        outcome = answers.conclude(measured, experiment.answer, sentences=False)
    partial_results.discard(folder)
    folder.report.unlink(missing_ok=True)  # from here on it would be that of other results
    results.write(outcome, folder.path)
    report.write(folder.path)
    return outcome


def _wanted(experiment: Experiment, config: Config, code: Environment, preset: str, smoke: bool) -> Resolved:
    state = code["commit"], code["dirty"], devices.compilation()
    return Resolved(experiment.name, preset, smoke, json_files.encode(config), *state)


def _tell_of_differences(stored: Resolved, requested: Resolved, progress: Progress) -> None:
    if stored.commit != requested.commit:
        progress.line(f"note: this run was started by commit {stored.commit}, and goes on with {requested.commit}")
    if note := configuration.other_compilation(stored, requested):
        progress.line(note)


def _train_with_the_first(experiment: Experiment, config: Config, folder: RunFolder, progress: Progress) -> None:
    """What a process other than 0 does, once process 0 has the folder."""
    with interruption.watch(at_once=True):
        if distributed.follow() and experiment.train is not None:
            experiment.train(config, folder, progress)
        distributed.part()


@contextlib.contextmanager
def _forgotten_if_empty(folder: RunFolder) -> Iterator[None]:
    """A configuration or data that turn out to be impossible leave nothing behind that would be in the way of the right
    ones.

    The list of bad files stays, because the error names it.
    """
    new, before = (
        not folder.config.exists(),
        set(folder.path.iterdir()) - {folder.path / run_lock.LOCK, folder.path / run_lock.OWNER},
    )
    with _unmade_if_refused(folder):
        try:
            yield
        except (ConfigError, DataError):
            started = any(folder.path.rglob(folder.metrics.name)) or any(folder.rows.glob("*.json"))
            if distributed.first() and new and not started:
                for path in set(folder.path.iterdir()) - before - {folder.bad_files}:
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _unmade_if_refused(folder: RunFolder) -> Iterator[None]:
    """A refusal leaves no empty folder that this command has made."""
    try:
        yield
    except (ConfigError, DataError, DeviceError):
        with contextlib.suppress(OSError):  # one that is not empty
            for path in folder.made:
                path.rmdir()
        raise
