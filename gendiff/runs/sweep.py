"""A sweep: many small trainings, the rows of one table, which several processes and hosts fill together.

Also known as: a hyperparameter sweep.

A row is the frozen dataclass of all that its training depends on, and its id is a digest of that. While a row trains,
the folder `rows/ID` of the run holds its checkpoints. When it is finished, `rows/ID.json` appears, whole or not at all,
and the checkpoints go. So a finished row is never computed again, one that was killed goes on where it was, and one
whose configuration changed is another row. Each row has a file of its own, because hosts that append to one file on a
file system that they share may lose lines. `rows.csv` is made of all of them.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from gendiff.core.errors import ConfigError, DataError, NonFiniteError
from gendiff.core.types import Numeric
from gendiff.runs import run_lock
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting, json_files
from gendiff.runs.run_folder import RunFolder

RowT = TypeVar("RowT")
Line: TypeAlias = Mapping[str, int | float | str | bool]
"""What was measured of a row at one place, such as the end of one seed's training, by name."""
TrainRow: TypeAlias = Callable[..., Sequence[Line]]
"""(row, its own folder, progress) -> lines. It trains with `training_loop` in that folder, and goes on there after an
interruption.
"""
TABLE = "rows.csv"
WAIT = 5.0
"""Seconds between two looks at rows that other processes compute."""


class Shard(NamedTuple):
    """Every `parts`-th row from row `number` on."""

    number: int = 0
    parts: int = 1


@dataclasses.dataclass(frozen=True)
class Finished:
    """rows/ID.json. config: the row. lines: what was measured. seconds: of the process that finished it.

    failed: why there is nothing to measure, as where the loss was not finite; "" where there is.
    """

    config: dict[str, object]
    lines: tuple[dict[str, Numeric], ...]
    seconds: float
    failed: str = ""


def shard(text: str) -> Shard:
    """What `--shards I/N` names. ConfigError for another text, and unless 0 ≤ I < N."""
    pieces = text.split("/")
    if len(pieces) == 2 and all(re.fullmatch(r"\d{1,9}", piece, re.ASCII) for piece in pieces):
        chosen = Shard(*map(int, pieces))
        if chosen.number < chosen.parts:
            return chosen
    raise ConfigError(f"--shards {text}: give I/N with I from 0 to N - 1, such as 0/4 for the first of four")


def id_of(row: object) -> str:
    """Sixteen letters that change with the type of the row and with any of its fields."""
    content = json.dumps([type(row).__name__, json_files.encode(row)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def run(
    rows: Sequence[object], train_row: TrainRow, folder: RunFolder, progress: Progress, part: Shard | None = None
) -> None:
    """Computes the rows that are not finished, in order; equal rows count once.

    part: of which rows; one that another process computes meanwhile is then left to it. None: of all, and it waits for
        other processes.
    A row whose loss is not finite is finished as failed. Other errors and signals end the sweep, and the same call goes
    on with it.
    """
    all_rows = {id_of(row): row for row in rows}
    names = list(all_rows)[part.number :: part.parts] if part else list(all_rows)
    folder.rows.mkdir(exist_ok=True)
    _tell_of_strangers(all_rows, folder, progress)
    left = [name for name in names if _finished(all_rows[name], folder, progress.line) is None]
    progress.line(
        f"{len(names)} of {len(all_rows)} rows are wanted here, and {len(names) - len(left)} of them are finished: "
        f"{folder.rows}"
    )
    with progress.task("rows", len(names), len(names) - len(left)) as task:
        while left:
            busy = []
            for name in left:
                if not _done_here(all_rows[name], train_row, folder, progress):
                    busy.append(name)
                task.update(len(names) - len(left) + left.index(name) + 1 - len(busy))
            if part and busy:
                progress.line(f"{len(busy)} rows are left to the processes that compute them")
                break
            if busy:
                progress.line(f"waiting for {len(busy)} rows that other processes compute")
                time.sleep(WAIT)
            left = busy
    write_table(rows, folder)


def results(rows: Sequence[RowT], folder: RunFolder) -> list[tuple[RowT, Finished]]:
    """Every row, once, with what was measured of it. DataError where some are not finished."""
    all_rows = {id_of(row): row for row in rows}
    there = [(row, _finished(row, folder)) for row in all_rows.values()]
    completed = [(row, finished) for row, finished in there if finished is not None]
    if len(completed) < len(all_rows):
        raise DataError(
            f"{folder.rows}: {len(all_rows) - len(completed)} of {len(all_rows)} rows are not finished; `run` goes "
            "on with them"
        )
    return completed


def write_table(rows: Sequence[object], folder: RunFolder) -> Path:
    """Writes rows.csv: a line for each line of each finished row, with its id, the fields of its configuration, and its
    seconds.
    """
    lines = []
    for name, row in {id_of(row): row for row in rows}.items():
        finished = _finished(row, folder)
        about = {
            "row": name,
            **{key: value for key, value in json_files.encode(row).items() if not isinstance(value, list | dict)},
        }
        for line in finished.lines if finished else ():
            lines.append(about | line | {"seconds": finished.seconds if finished else 0.0})
    columns = list(dict.fromkeys(column for line in lines for column in line))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return json_files.write_bytes(folder.path / TABLE, text.getvalue().encode())


def _done_here(row: object, train_row: TrainRow, folder: RunFolder, progress: Progress) -> bool:
    """Whether the row is finished now; False where another process computes it."""
    path = folder.rows / id_of(row)
    with _claimed(path, progress) as mine:
        if mine and _finished(row, folder) is None:
            _compute(row, train_row, folder, progress)
    finished = _finished(row, folder)
    # only now, for the lock lies in this folder; who failed may leave a batch
    if mine and finished is not None and not finished.failed:
        shutil.rmtree(path, ignore_errors=True)
    return mine


def _compute(row: object, train_row: TrainRow, folder: RunFolder, progress: Progress) -> None:
    """Trains a row that this process owns, and writes what it gave."""
    lines: tuple[dict[str, Numeric], ...] = ()
    name, begin, failed = id_of(row), time.monotonic(), ""
    row_folder = dataclasses.replace(folder, path=folder.rows / name, profile=None, log=(), made=())
    try:
        lines = tuple(dict(line) for line in train_row(row, row_folder, Progress(quiet=True)))
    except NonFiniteError as error:
        failed = str(error)
    spent = time.monotonic() - begin
    json_files.write(_file(folder, name), Finished(json_files.encode(row), lines, round(spent, 3), failed))
    summary = failed or ", ".join(
        f"{key} {formatting.column([value])[0][0]}" for key, value in (lines[-1] if lines else {}).items()
    )
    progress.line(f"row {name} in {formatting.duration(spent)}: {summary}")


@contextlib.contextmanager
def _claimed(path: Path, progress: Progress) -> Iterator[bool]:
    """Within: whether this process owns the row. No other one then computes it, on this host or another."""
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(exist_ok=True)
            mine = run_lock.running(path) is None
            if mine:
                stack.enter_context(run_lock.held(path, progress.line))
        # another process was faster, or has just finished the row and removed its folder
        except (ConfigError, FileNotFoundError):
            mine = False
        yield mine


def _finished(row: object, folder: RunFolder, note: Callable[[str], object] = str) -> Finished | None:
    """What was measured of a row; None where it is not finished, or its file is not as it was written, of which `note`
    is told.
    """
    path = _file(folder, id_of(row))
    if not path.exists():
        return None
    try:
        stored = json_files.read(path, Finished)
    except DataError as error:
        note(f"note: {error}; the row is computed again")
        return None
    if stored.config != json_files.encode(row):
        note(f"note: {path} holds another row than its name says; the row is computed again")
        return None
    return dataclasses.replace(stored, lines=tuple(map(json_files.with_non_finite, stored.lines)))


def _tell_of_strangers(all_rows: Mapping[str, object], folder: RunFolder, progress: Progress) -> None:
    strange = sorted(path.stem for path in folder.rows.glob("*.json") if path.stem not in all_rows)
    if strange:
        progress.line(
            f"note: {folder.rows} holds {len(strange)} rows of other configurations, such as {strange[0]}: they are "
            "left out"
        )


def _file(folder: RunFolder, name: str) -> Path:
    file: Path = folder.rows / f"{name}.json"
    return file
