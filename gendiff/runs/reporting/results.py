"""The outcome of an experiment: results.json, everything a reader needs to believe or repeat it."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gendiff.runs.reporting import json_files, verdicts
from gendiff.runs.reporting.environment import Environment
from gendiff.runs.reporting.formatting import CellValue as CellValue
from gendiff.runs.reporting.verdicts import Claim, Kind, Summary, Verdict, Word

FILE = "results.json"
MACHINES = "machines"
"""The folder beside a result that holds those of the same command on other machines, each in a folder of its own."""
SECTIONS: Mapping[str, str] = {
    "essay": "What the essay says",
    "promise": "Promises",
    "aim": "Aims",
    "check": "Checks",
    "": "Claims",
    "control": "Controls",
}
"""The headings under which claims stand, by their role; controls stand together."""
NOTES: Mapping[str, str] = {
    "aim": "Speed and size that the library wants to reach.",
    "check": "Identities and sanity tests, without which the other numbers could not be trusted.",
    "control": "Something bad that the measurement must tell from good. PASS means that it does.",
}


@dataclass(frozen=True)
class Figure:
    """A PNG of the run folder and what it shows."""

    file: str
    caption: str

    def __post_init__(self) -> None:
        _check_png(self.file)


@dataclass(frozen=True)
class Axis:
    """What one slider of an explorer changes, such as the guidance scale, and the values it takes. Raises ValueError
    without any.
    """

    label: str
    values: tuple[str | int | float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"axis {self.label!r} has no values: at least 1 is needed")


@dataclass(frozen=True)
class Explorer:
    """Pictures drawn beforehand over some axes, one of which the sliders choose.

    file: the PNG that figures.explorer made of pictures (*axes, n, h, w, c), in the run folder.
    start: for each axis the index of the value shown first; empty for the first of each. Raises ValueError where it
        does not fit the axes.
    """

    file: str
    caption: str
    axes: tuple[Axis, ...]
    start: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_png(self.file)
        object.__setattr__(self, "start", self.start or (0,) * len(self.axes))
        sizes = tuple(len(axis.values) for axis in self.axes)
        if not sizes:
            raise ValueError(f"explorer {self.file!r} has no axes: at least 1 is needed")
        if len(self.start) != len(sizes) or not all(0 <= at < size for at, size in zip(self.start, sizes, strict=True)):
            raise ValueError(f"start = {self.start} of explorer {self.file!r} is no place on axes of {sizes} values")


@dataclass(frozen=True)
class Table:
    """Numbers that no claim is made of. Raises ValueError for a row that is not as long as the columns.

    note: what the numbers can say and what they cannot. main: whether the terminal shows the table too.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[CellValue, ...], ...]
    note: str = ""
    main: bool = False

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}: row {number} has {len(row)} cells for {len(self.columns)} columns"
                )


@dataclass(frozen=True)
class Checkpoint:
    """What was judged of one training: the last step of this seed, and the digest of all bytes of its folder.

    part: the folder of the training within that of the run; "" for the run's own. Seeds that train side by side are
        stored as the first.
    """

    part: str
    seed: int
    step: int
    digest: str


@dataclass(frozen=True)
class Results:
    """What results.json holds.

    verdict: as `verdicts.verdict` says; always INCONCLUSIVE for a smoke run, whose numbers mean nothing; NONE for a run
        whose numbers are
      those of no named preset.
    answer: to the question, in one line with its main number; statements: of each statement of the essay that is
        tested, such as "E5", what
      was measured. Both are empty where nothing is judged.
    commit, dirty: None outside git. config: the resolved configuration as plain JSON. seconds: of each stage.
    chosen: what was taken for the fields of the configuration that are None, in words.
    checkpoints: what was judged; none of a run that trained nothing, or of a version that did not record it.
    Raises ValueError for a verdict that its claims do not give, and for a claim whose figure is none of these figures
    and explorers.
    """

    name: str
    question: str
    verdict: Verdict | Word | Literal["NONE"]
    commit: str | None
    dirty: bool | None
    smoke: bool
    config: dict[str, object]
    seeds: tuple[int, ...]
    versions: dict[str, str]
    machine: dict[str, object]
    seconds: dict[str, float]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    explorers: tuple[Explorer, ...] = ()
    chosen: dict[str, str] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] = ()
    answer: str = ""
    statements: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        right = _verdict(self.claims, self.smoke)  # raises where the seeds of a claim contradict each other
        # which asked for every seed
        older = {verdicts.overall(self.claims)} if not any(claim.role for claim in self.claims) else set()
        if self.verdict != right and (self.smoke or self.verdict not in {"NONE", *older}):
            raise ValueError(
                f"verdict = {self.verdict!r} contradicts the claims, which give {right}; build results with "
                "results.conclude"
            )
        files = [each.file for each in self.explorers] + [each.file for each in self.figures]
        for claim in self.claims:
            if claim.figure and claim.figure not in files:
                raise ValueError(
                    f"figure = {claim.figure!r} of claim {claim.id!r} is none of {', '.join(files) or 'no figures'}"
                )

    @property
    def judged(self) -> bool:
        """Whether the verdicts of single claims mean anything."""
        return self.verdict != "NONE" and not self.smoke

    def summaries(self, *kinds: Kind) -> list[Summary]:
        """Of the claims of these kinds, over their seeds."""
        return [summary for summary in verdicts.by_id(self.claims).values() if summary.first.kind in kinds]

    def sections(self) -> dict[str, list[Summary]]:
        """The claims by the heading that they stand under; no heading without claims."""
        groups: dict[str, list[Summary]] = {role: [] for role in SECTIONS}
        for summary in self.summaries("claim", "control"):
            groups["control" if summary.first.kind == "control" else summary.first.role].append(summary)
        return {role: summaries for role, summaries in groups.items() if summaries}

    def counts(self) -> dict[str, str]:
        """Of each section how many claims hold, as in "3 of 4"."""
        return {
            SECTIONS[role].lower(): f"{sum(each.verdict == 'PASS' for each in summaries)} of {len(summaries)}"
            for role, summaries in self.sections().items()
        }


def conclude(
    name: str,
    question: str,
    config: object,
    claims: Iterable[Claim],
    *,
    seeds: Iterable[int],
    seconds: Mapping[str, float],
    environment: Environment,
    smoke: bool = False,
    named: bool = True,
    chosen: Mapping[str, str] | None = None,
    **parts: Iterable[object],
) -> Results:
    """Results with the verdict that their claims give; none unless `named`: `config`, a frozen dataclass or a dict, is
    a named preset.

    parts: figures, tables, explorers, checkpoints.
    """
    all_claims = tuple(claims)
    return Results(
        name=name,
        question=question,
        verdict=_verdict(all_claims, smoke) if smoke or named else "NONE",
        smoke=smoke,
        config=json_files.encode(config),
        seeds=tuple(int(seed) for seed in seeds),
        seconds={stage: float(spent) for stage, spent in seconds.items()},
        claims=all_claims,
        chosen=dict(chosen or {}),
        **{kind: tuple(each) for kind, each in parts.items()},  # type: ignore[arg-type]  # of which each is a field
        **environment,
    )


def write(results: Results, folder: str | os.PathLike[str]) -> Path:
    """Writes results.json into the folder, whole or not at all, and returns its path."""
    return json_files.write(Path(folder) / FILE, results)


def read(path: str | os.PathLike[str]) -> Results:
    """Results of a run folder, or of a results.json. Raises DataError, naming the file and the field, where anything is
    not as written.
    """
    file = Path(path)
    return json_files.read(file / FILE if file.is_dir() else file, Results)


def on_machines(folder: str | os.PathLike[str]) -> list[Results]:
    """Results of a folder, then those of the same command on other machines, which lie beside them."""
    return [read(folder), *(read(path) for path in sorted((Path(folder) / MACHINES).glob(f"*/{FILE}")))]


def _check_png(file: str) -> None:
    if Path(file).name != file or not file.lower().endswith(".png"):
        raise ValueError(f"file = {file!r} must be the plain name of a .png in the run folder")


def _verdict(claims: Iterable[Claim], smoke: bool) -> Verdict | Word:
    judged = verdicts.verdict(claims)
    return "INCONCLUSIVE" if smoke else judged
