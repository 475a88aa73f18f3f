"""What `run`, `evaluate` and `report` do once their words are understood."""

import dataclasses
from pathlib import Path

from gendiff.commands.run_options import RunOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import (
    compile_cache,
    configuration,
    devices,
    distributed,
    errors,
    meshes,
    profiling,
    run_folder,
    runner,
    sinks,
    sweep,
)
from gendiff.runs.meshes import Axes
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting import report
from gendiff.runs.run_folder import RunFolder


def run(experiment: Experiment, options: RunOptions, config: configuration.Config, progress: Progress) -> int:
    """Trains and evaluates the experiment, or prints what that would cost; the exit code."""
    runner.check(experiment, config)
    logs = sinks.parse(options.log)
    span = None if options.profile is None else profiling.parse(options.profile)
    if span is not None and experiment.train is None:
        raise ConfigError(f"--profile {options.profile}: {experiment.name} trains nothing")
    axes = Axes() if options.mesh is None else meshes.parse(options.mesh)
    if options.mesh is not None and experiment.train is None:
        raise ConfigError(f"--mesh {options.mesh}: {experiment.name} trains nothing")
    if options.dry_run:
        runner.dry_run(experiment, config, progress)
        return errors.DONE
    compile_cache.use(options.compile_cache, progress.line)
    shard = None if options.shards is None else sweep.shard(options.shards)
    path = options.out or Path("runs") / (experiment.name + ("-smoke" if options.smoke else ""))
    preset = "smoke" if options.smoke else options.preset
    if shard is not None:  # the processes of a sweep need no connection
        with devices.compiled_quickly(options.smoke):
            folder = run_folder.create(path, options.resume)
            runner.compute_shard(experiment, config, folder, progress, shard, preset=preset, smoke=options.smoke)
        return errors.DONE
    distributed.join(
        options.distributed, options.coordinator, options.processes, options.process, served=experiment.processes
    )
    if distributed.first():
        folder = dataclasses.replace(run_folder.create(path, options.resume), profile=span, log=logs, mesh=axes)
    else:
        folder, progress = RunFolder(Path(path), options.resume, mesh=axes), Progress(quiet=True)
    with devices.compiled_quickly(options.smoke):
        outcome = runner.run(experiment, config, folder, progress, preset=preset, smoke=options.smoke)
    if outcome is not None:
        print(f"{report.table_text(outcome)}\nreport: {folder.report}", flush=True)
    return errors.DONE


def evaluate(experiment: Experiment, folder: RunFolder, progress: Progress) -> None:
    """Computes the results of a run anew, and prints its claims."""
    compile_cache.use(say=progress.line)
    print(f"{report.table_text(runner.evaluate(experiment, folder, progress))}\nreport: {folder.report}", flush=True)
