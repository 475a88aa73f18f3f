"""What a run is judged by: the newest checkpoint of each of its trainings, which must be the last that the training
wrote.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gendiff.core.errors import CheckpointCorruptError, DataError
from gendiff.runs import configuration, resume_command
from gendiff.runs.configuration import Resolved
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.results import Checkpoint
from gendiff.runs.run_folder import Line, RunFolder
from gendiff.training import compatibility, digests
from gendiff.training.checkpoints import Checkpoints


class Training(NamedTuple):
    """One training of a run.

    folder: in which it trained. name: of that within the folder of the run; "" for the run's own. lines: its metrics.
    """

    folder: RunFolder
    name: str
    seed: int
    lines: list[Line]

    @property
    def checkpoints(self) -> Path:
        return self.folder.checkpoints(self.seed)

    @property
    def step(self) -> int | None:
        """The last one; None where the metrics know none."""
        return self.lines[-1]["step"] if self.lines else None


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
    for training in trainings(folder):
        step, checkpoints = training.step, training.checkpoints
        if step is None:
            raise DataError(f"{_no_step(training)}; put it back")
        if problem := _not_the_last(checkpoints, step):
            raise DataError(f"{problem}; {goes_on}")
        with Checkpoints(checkpoints, read_only=True) as store:
            store.verify(step)
            rows = _differences(store, stored, training.folder)
        compatibility.refuse(
            f"{folder.config} was changed after the training; put back what step {step} of {checkpoints} was trained "
            "with",
            rows,
        )
        digest = digests.folder_digest(checkpoints / str(step))
        judged.append(Checkpoint(training.name, training.seed, step, digest))
    return tuple(judged)


def remarks(folder: RunFolder, *, finished: bool = True) -> list[str]:
    """What `read` would refuse, a line each, for commands that take a run as it is. Whoever reads parameters verifies
    their bytes.

    finished: False where nobody expects a checkpoint of the last step.
    """
    stored, result = configuration.read(folder), list[str]()
    try:
        for training in trainings(folder):
            checkpoints = training.checkpoints
            if training.step is None:
                result.append(_no_step(training))
            elif finished and (problem := _not_the_last(checkpoints, training.step)):
                result.append(problem)
            if not checkpoints.is_dir():
                continue
            with Checkpoints(checkpoints, read_only=True) as store:
                newest = store.latest()
                rows = [] if newest is None else _differences(store, stored, training.folder)
            if rows:
                changes = ", ".join(f"{name} = {now} in place of {before}" for name, before, now in rows)
                result.append(f"{folder.config} differs from what step {newest} of {checkpoints} has: {changes}")
    # metrics that were changed, or a checkpoint that was changed or that a running process removes
    except (DataError, CheckpointCorruptError) as error:
        result.append(str(error))
    return result


def trainings(folder: RunFolder) -> Iterator[Training]:
    """Those of a run and of its parts, each with the metrics that it has logged."""
    for part in _parts(folder):
        name = part.path.relative_to(folder.path).as_posix().removeprefix(".")
        by_seed: dict[int, list[Line]] = {seed: [] for seed in part.trained_seeds()}
        for line in part.read_metrics():
            by_seed.setdefault(line["seed"], []).append(line)
        for seed, lines in sorted(by_seed.items()):
            yield Training(part, name, seed, lines)


def _parts(folder: RunFolder) -> Iterator[RunFolder]:
    """The folders in which the run has trained. One with a config.json is another run, unless that calls it a part;
    rows of a sweep are judged by their files.
    """
    for path in sorted({file.parent for name in ("metrics.jsonl", "checkpoints") for file in folder.path.rglob(name)}):
        inner = path.relative_to(folder.path)
        between = [folder.path / each for each in (inner, *inner.parents)[:-1]]
        hidden = any(name.startswith(".") for name in inner.parts)
        if not hidden and folder.rows not in between and not any(map(_is_another_run, between)):
            yield RunFolder(path)


def _is_another_run(path: Path) -> bool:
    folder = RunFolder(path)
    return folder.config.exists() and not configuration.read(folder).entry_of


def _no_step(training: Training) -> str:
    return (
        f"{training.folder.metrics}: holds no step of seed {training.seed}, so nothing tells which checkpoint is the "
        "last"
    )


def _not_the_last(path: Path, last: int) -> str:
    """Why the newest checkpoint at `path` is not that of the last step; "" where it is."""
    newest = None
    if path.is_dir():
        with Checkpoints(path, read_only=True) as store:
            newest = store.latest()
    there = "no checkpoint is there" if newest is None else f"its newest checkpoint is that of step {newest}"
    return "" if newest == last else f"{path}: {there}, and its metrics end at step {last}"


def _differences(store: Checkpoints, run: Resolved, part: RunFolder) -> compatibility.Rows:
    """Between the configuration that the newest step was written with and that of the run; of a part that has one of
    several entries of a field, with that entry alone.
    """
    trained, config = store.written_with()["config"], run.config
    if part.config.exists() and (field := (stored := configuration.read(part)).entry_of):
        entries = config.get(field)
        several = entries if isinstance(entries, list) else []
        config = config | {field: [each for each in several if [each] == stored.config.get(field)]}
    # older versions kept none in the parts of a run
    return [] if trained is None else compatibility.in_config(configuration.renamed(trained), config)
