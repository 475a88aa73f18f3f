"""What a run is judged by: the newest checkpoint of each of its trainings, which must be the last that the training
wrote.
"""

from collections.abc import Iterator
from pathlib import Path

from gendiff.core.errors import CheckpointCorruptError, DataError
from gendiff.runs import configuration, resume_command
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.results import Checkpoint
from gendiff.runs.run_folder import RunFolder
from gendiff.training import compatibility, digests
from gendiff.training.checkpoints import Checkpoints


def read(experiment: Experiment, folder: RunFolder) -> tuple[Checkpoint, ...]:
    """Those of all parts of a finished run; none for an experiment that trains nothing.

    A training that logs a step has it on disk before the checkpoint of that step, and its last step is always logged.
    Raises DataError where the newest checkpoint of a training is not that of its last step, CheckpointMismatchError,
    with a table, where it was written by another configuration than that of config.json, and CheckpointCorruptError for
    changed bytes.
    """
    if experiment.train is None:
        return ()
    stored = configuration.read(folder)
    goes_on = (
        "put it back, or remove results.json and train the rest:\n  "
        f"{resume_command.command(experiment, stored, folder)}"
    )
    judged = []
    for part, seed, step in _trainings(folder):
        if step is None:
            raise DataError(f"{_no_step(part, seed)}; put it back")
        checkpoints = part.checkpoints(seed)
        if problem := _not_the_last(checkpoints, step):
            raise DataError(f"{problem}; {goes_on}")
        with Checkpoints(checkpoints, read_only=True) as store:
            store.verify(step)
            rows = _differences(store, stored.config)
        compatibility.refuse(
            f"{folder.config} was changed after the training; put back what step {step} of {checkpoints} was trained "
            "with",
            rows,
        )
        name = part.path.relative_to(folder.path).as_posix()
        digest = digests.folder_digest(checkpoints / str(step))
        judged.append(Checkpoint("" if name == "." else name, seed, step, digest))
    return tuple(judged)


def remarks(folder: RunFolder, *, finished: bool = True) -> list[str]:
    """What `read` would refuse, a line each, for commands that take a run as it is. Whoever reads parameters verifies
    their bytes.

    finished: False where nobody expects a checkpoint of the last step.
    """
    stored, result = configuration.read(folder), list[str]()
    try:
        for part, seed, step in _trainings(folder):
            checkpoints = part.checkpoints(seed)
            if step is None:
                result.append(_no_step(part, seed))
            elif finished and (problem := _not_the_last(checkpoints, step)):
                result.append(problem)
            if not checkpoints.is_dir():
                continue
            with Checkpoints(checkpoints, read_only=True) as store:
                newest = store.latest()
                rows = [] if newest is None else _differences(store, stored.config)
            if rows:
                changes = ", ".join(f"{name} = {now} in place of {before}" for name, before, now in rows)
                result.append(f"{folder.config} differs from what step {newest} of {checkpoints} has: {changes}")
    # metrics that were changed, or a checkpoint that was changed or that a running process removes
    except (DataError, CheckpointCorruptError) as error:
        result.append(str(error))
    return result


def _trainings(folder: RunFolder) -> Iterator[tuple[RunFolder, int, int | None]]:
    """(folder, seed, last step) of each training of a run; None where the metrics know no step of it."""
    for part in _parts(folder):
        last = {line["seed"]: line["step"] for line in part.read_metrics()}
        for seed in sorted({*last, *part.trained_seeds()}):
            yield part, seed, last.get(seed)


def _parts(folder: RunFolder) -> Iterator[RunFolder]:
    """The folders in which the run has trained. One with a config.json is another run; rows of a sweep are judged by
    their files.
    """
    for path in sorted({file.parent for name in ("metrics.jsonl", "checkpoints") for file in folder.path.rglob(name)}):
        inner = path.relative_to(folder.path)
        between = [folder.path / each for each in (inner, *inner.parents)[:-1]]
        hidden = any(name.startswith(".") for name in inner.parts)
        if (
            not hidden
            and folder.rows not in between
            and not any((each / folder.config.name).exists() for each in between)
        ):
            yield RunFolder(path)


def _no_step(part: RunFolder, seed: int) -> str:
    return f"{part.metrics}: holds no step of seed {seed}, so nothing tells which checkpoint is the last"


def _not_the_last(path: Path, last: int) -> str:
    """Why the newest checkpoint at `path` is not that of the last step; "" where it is."""
    newest = None
    if path.is_dir():
        with Checkpoints(path, read_only=True) as store:
            newest = store.latest()
    there = "no checkpoint is there" if newest is None else f"its newest checkpoint is that of step {newest}"
    return "" if newest == last else f"{path}: {there}, and its metrics end at step {last}"


def _differences(store: Checkpoints, config: dict[str, object]) -> compatibility.Rows:
    """Between the configuration that the newest step was written with and another one."""
    trained = store.written_with()["config"]
    # older versions kept none in the parts of a run
    return [] if trained is None else compatibility.in_config(configuration.renamed(trained), config)
