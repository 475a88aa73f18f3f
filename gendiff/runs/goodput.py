"""Where the wall clock of a run's training went: the seconds of each process of the run, added up from its timings
files.
"""

import math
from collections.abc import Iterator

from gendiff.core import foreign_files
from gendiff.runs.progress import stage_seconds
from gendiff.runs.reporting.results import Table
from gendiff.runs.run_folder import RunFolder
from gendiff.training.timing import PHASES

TITLE = "Where the time of training went"
MEANING = {
    "compile": "initial parameters and compilation",
    "data": "waiting for batches",
    "step": "optimizer steps",
    "checkpoint": "restoring and saving checkpoints",
    "idle": "logging and all else within the loop",
}


def tables(folder: RunFolder) -> tuple[Table, ...]:
    """One table whose parts add up to the seconds of training, resumed processes included; none where no loop has
    ended.

    Of several processes at once it is the time of process 0. A process that was killed left no time behind.
    """
    spent = dict.fromkeys(PHASES, 0.0)
    lines = [line for path in (folder.path, *sorted(folder.path.glob("*/"))) for line in _loops(RunFolder(path))]
    for line in lines:
        for phase in PHASES:
            spent[phase] += line[phase]
    within = sum(spent.values())
    if not within:
        return ()
    total = max(stage_seconds(folder.timings, "train"), within)
    parts = {MEANING[phase]: seconds for phase, seconds in spent.items()} | {
        "outside the loop, such as reading data": total - within
    }
    rows = [(name, seconds, seconds / total) for name, seconds in (parts | {"all": total}).items()]
    return (
        Table(
            TITLE,
            ("part", "seconds", "share"),
            tuple((name, round(seconds, 2), round(share, 4)) for name, seconds, share in rows),
        ),
    )


def _loops(folder: RunFolder) -> Iterator[dict[str, float]]:
    """The lines that loops left; a broken one is left out."""
    lines = foreign_files.regular(folder.timings).read_bytes().split(b"\n") if folder.timings.exists() else ()
    for text in lines:
        try:
            line = foreign_files.decoded(text) if text else {}
            if line.get("phase") == "steps" and all(
                math.isfinite(line[phase]) and line[phase] >= 0 for phase in PHASES
            ):
                yield line
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
