"""Where the wall clock of a run's training went: the seconds of each process of the run, added up from its timings
files.
"""

import math

from gendiff.runs.progress import read_timings, stage_seconds
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
    for path in (folder.path, *sorted(folder.path.glob("*/"))):
        for line in read_timings(RunFolder(path).timings):
            times = [line.get(phase) for phase in PHASES]
            whole_line = all(isinstance(each, int | float) and 0 <= each < math.inf for each in times)
            if line.get("phase") == "steps" and whole_line:
                spent = {phase: spent[phase] + line[phase] for phase in PHASES}
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
