"""What a run is judged by: the newest checkpoint of each of its trainings, which must be the last that the training
wrote.
"""

from collections.abc import Iterator
from pathlib import Path

from gendiff.core.errors import DataError
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
    for part in _parts(folder):
        last = {line["seed"]: line["step"] for line in part.read_metrics()}
        for seed in sorted(
            last.keys() | {int(path.name.removeprefix("seed_")) for path in part.checkpoints(0).parent.glob("seed_*")}
        ):
            step = last.get(seed)
            if step is None:
                raise DataError(
                    f"{part.metrics}: holds no step of seed {seed}, so nothing tells which checkpoint is the last; put "
                    "it back"
                )
            checkpoints = part.checkpoints(seed)
            _check(checkpoints, step, stored.config, folder.config, goes_on)
            name = part.path.relative_to(folder.path).as_posix()
            judged.append(
                Checkpoint("" if name == "." else name, seed, step, digests.folder_digest(checkpoints / str(step)))
            )
    return tuple(judged)


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


def _check(path: Path, last: int, config: dict[str, object], file: Path, goes_on: str) -> None:
    """Raises unless the newest step at `path` is the last, written by this configuration."""
    if not path.is_dir():
        raise DataError(f"{path}: no checkpoint is there, and the training ended at step {last}; {goes_on}")
    with Checkpoints(path, read_only=True) as store:
        newest = store.latest()
        if newest != last:
            there = "no checkpoint is there" if newest is None else f"its newest checkpoint is that of step {newest}"
            raise DataError(f"{path}: {there}, and the training ended at step {last}; {goes_on}")
        store.verify(last)
        trained = store.written_with()["config"]
    if trained is not None:  # older versions kept none in the parts of a run
        rows = compatibility.in_config(configuration.renamed(trained), config)
        compatibility.refuse(
            f"{file} was changed after the training; put back what step {last} of {path} was trained with", rows
        )
