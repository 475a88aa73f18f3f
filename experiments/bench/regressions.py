"""Ratios of a bench beside the committed ones of the same processor: `bench --check`.

A ratio has regressed where the upper end of its 95 % interval lies below 0.9 of the committed ratio: it fell by more
than 10 %, and the scatter of its own rounds does not explain it. The interval of the committed ratio does not count.
Where it is wide, a regression is seen all the same.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gendiff.core.errors import ConfigError
from gendiff.runs.reporting import environment, json_files, results
from gendiff.runs.reporting.results import Results, Table
from gendiff.runs.reporting.verdicts import Number

FOLDER = environment.PROJECT / "experiments" / "results"
LEAST = 0.9
"""Share of the committed ratio below which a ratio has regressed."""
SAME = ("device", "threads", "tiny", "peers", "against")
"""Fields of the configuration in which two runs must be equal."""
COLUMNS = ("ratio", "committed", "measured", "change", "state")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One ratio in two runs; None in a run that does not have it. failure: why its case did not run."""

    name: str
    committed: Number | None = None
    measured: Number | None = None
    failure: str = ""

    @property
    def regressed(self) -> bool:
        """Whether it fell by more than its interval explains, or could not be measured."""
        if self.failure or self.committed is None or self.measured is None:
            return bool(self.failure)
        return not self.measured[2] >= LEAST * self.committed[0]  # NaN where outputs disagree

    @property
    def row(self) -> tuple[str, Number | None, Number | None, str, str]:
        """Of the table."""
        if self.committed is None or self.measured is None:
            words = self.failure or ("new" if self.committed is None else "gone")
            return self.name, self.committed, self.measured, "", words
        if math.isnan(self.measured[0]):
            return self.name, self.committed, self.measured, "", "outputs disagree"
        change = f"{self.measured[0] / self.committed[0] - 1:+.1%}".replace("-", "−")
        return self.name, self.committed, self.measured, change, "regressed" if self.regressed else ""


def committed(name: str, cpu: str, config: object, folder: Path = FOLDER) -> Results:
    """The committed run of a bench on the processor `cpu`, with which one of this configuration can be compared.

    Raises ConfigError where the configuration measures something else, and where no run on this processor is committed.
    """
    runs = results.on_machines(folder / name)
    here, there = json_files.encode(config), runs[0].config
    for field in SAME:
        if here[field] != there[field]:
            raise ConfigError(
                f"--check compares with runs of {field} = {there[field]!r}, and this is one of {here[field]!r}: leave "
                "out what changes it"
            )
    for run in runs:
        if run.machine["cpu"] == cpu:
            return run
    raise ConfigError(
        f"--check: no run of {name} on this processor is committed: {cpu}. There are: "
        f"{'; '.join(str(run.machine['cpu']) for run in runs)}. `make {name}` leaves one in runs/{name}; its "
        f"results.json, committed in experiments/results/{name}/{results.MACHINES}/NAME, is what --check compares with"
    )


def compare(before: Results, after: Results) -> list[Comparison]:
    """Each ratio of the committed run and of a new one. Of a new run of some cases alone, those of its cases."""
    first, second = _ratios(before), _ratios(after)
    cases: Any = after.config["cases"]
    first = {name: each for name, each in first.items() if not math.isnan(each[1][0])}
    failures = [claim for claim in after.claims if claim.id.endswith("_ran")]
    absent = {claim.id.removesuffix("_ran") for claim in failures}
    return [
        *(
            Comparison(name, first.get(name, (case, None))[1], second.get(name, (case, None))[1])
            for name, (case, _) in {**first, **second}.items()
            if name in second or (case not in absent and (not cases or case in cases))
        ),
        *(Comparison(claim.id, failure=claim.statement) for claim in failures),
    ]


def table(before: Results, comparisons: Sequence[Comparison]) -> Table:
    """All of them. Its title names the committed run."""
    title = f"Ratios beside those of commit {str(before.commit)[:8]} on {before.machine['cpu']}"
    return Table(title, COLUMNS, tuple(each.row for each in comparisons))


def _ratios(outcome: Results) -> dict[str, tuple[str, Number]]:
    """(case, ratio) by the id of its claim; by its case or its statement where nothing is claimed of it."""
    claims = [claim for claim in outcome.claims if claim.relation == ">="]
    claimed = {claim.statement for claim in claims}
    ratios = {claim.id: (_case(claim.statement), (claim.value, *claim.interval)) for claim in claims}
    for each in outcome.tables:
        rows = [dict(zip(each.columns, row, strict=True)) for row in each.rows]
        if {"case", "ratio"} <= set(each.columns):
            unclaimed = {str(row["case"]): row["ratio"] for row in rows}
        elif each.columns[:2] == ("ratio", "value"):
            unclaimed = {str(row["ratio"]): row["value"] for row in rows if row["ratio"] not in claimed}
        else:
            continue
        ratios |= {
            name: (_case(name), number)
            for name, number in unclaimed.items()
            if name not in ratios and isinstance(number, tuple)
        }
    return ratios


def _case(statement: str) -> str:
    return statement.partition(":")[0]
