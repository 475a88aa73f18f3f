"""Pictures per second of the server under load, drawn together and one at a time."""

from typing import Any

from experiments.bench import duel
from experiments.bench.config import Setting
from experiments.bench.findings import Findings, Limit, Ratio
from experiments.bench.workloads import Case, Workload
from gendiff.commands.serve import load
from gendiff.commands.serve.load import LoadOptions
from gendiff.runs.progress import Progress
from gendiff.runs.reporting.results import Table

_FULL: dict[str, Any] = {"model": "emoji", "seconds": 10}
_TINY: dict[str, Any] = {"model": "shapes", "clients": 4, "seconds": 3, "rounds": 2}


def measure(case: Case, setting: Setting) -> Findings:
    """Two servers of a committed network in turn: one with as many slots as the batch of the workload, and one that has
    a single slot.
    """
    if load.absent():
        return Findings(skipped={case.name: load.absent()})
    size, rounds = setting.fitted(case.workload).batch, setting.pairs(case)
    options = LoadOptions(together=size, **(_TINY if setting.config.tiny else _FULL | {"rounds": rounds}))
    load_figures = load.measured(options, Progress(quiet=True))
    loads = load_figures.loads
    lost = float(sum(each.refused + each.broken for several in loads.values() for each in several))
    if not all(each.rate > 0 for several in loads.values() for each in several):
        return Findings(failed={case.name: "a server has drawn nothing"})
    many, one = ([1 / each.rate for each in loads[slots]] for slots in (size, 1))
    words = f"{case.name}: pictures per second, up to {size} at a time over one at a time"
    behind = f"{load.PICTURES} pictures of {load.LONG['steps']} steps"
    overtaking = f"{case.name}: a request of {load.SHORT['steps']} steps behind {behind} over its own time"
    title = (
        f"{case.name}: the server of the network {options.model!r}, {options.clients} requests on their way at a time"
    )
    return Findings(
        ratios=(Ratio(case.name, words, duel.ratio(one, many), len(many)),),
        limits=(
            Limit(f"{case.name}_lost", f"{case.name}: requests that got no picture", lost, "lost"),
            Limit(f"{case.name}_overtaking", overtaking, load_figures.overtaking, "overtaking", len(many)),
        ),
        tables=(Table(title, load.COLUMNS, tuple(load.rows(loads))),),
    )


QUESTION = "pictures per second of the server, up to 8 at a time against one at a time"
CASES = (Case("serve_load", QUESTION, Workload("serve", batch=8), pairs=3, absent=load.absent, measure=measure),)
