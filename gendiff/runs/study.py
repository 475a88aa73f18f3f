"""A study as data: a generator of measurements, and rows that say what is claimed of them.

Such as:

    CLAIMS = ( claim("guidance 1", "frechet", "<=", 1.75, role="E1", reason="a Gaussian fitted to the data has 1.9"),
    claim("guidance 1", "recall", ">=", 0.8, role="check", reason="the same Gaussian has 0.6"), ) CONTROLS =
    (control("untrained", "frechet", against="guidance 1", by=">=", margin=8.0),)

    def measure(config, folder, progress):
        for seed in config.seeds:
            yield Measured("guidance 1", {"frechet": …, "recall": …}, seed=seed, n=config.samples)

    STUDY = Study("digits", Config, …, measure=measure, claims=CLAIMS, controls=CONTROLS, answer=Answer(…))
    EXPERIMENT = STUDY.experiment()
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from gendiff.core.errors import ConfigError
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Config
from gendiff.runs.registry import Experiment, Outcome
from gendiff.runs.reporting import answers, verdicts
from gendiff.runs.reporting.answers import Answer
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.results import Explorer, Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number, Relation
from gendiff.runs.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of one set of samples, or of whatever a study compares.

    name: of the set, such as "DDIM, 20 steps".
    measures: by name a number, (value, low, high) with its 95 % interval, or a text, which stands in the table alone.
    seed: of the training; None where the numbers belong to no seed. n: the samples behind them.
    group: the table that shows them. arrays: what figures need beside the numbers, such as curves and images.
    """

    name: str
    measures: Mapping[str, CellValue]
    seed: int | None = None
    n: int = 1
    group: str = ""
    arrays: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)  # trees of arrays


class Measurements(tuple[Measured, ...]):
    """Everything that a study measured, in the order in which it was."""

    def seeds(self, name: str, measure: str) -> dict[int | None, Number]:
        """The number of each seed; empty where there is no such set or measure."""
        return {
            each.seed: _number(each.measures[measure])
            for each in self
            if each.name == name and measure in each.measures
        }

    def mean(self, name: str, measure: str) -> Number:
        """The mean over seeds, as `verdicts.mean_over_seeds`. KeyError where nothing was measured."""
        if not (numbers := self.seeds(name, measure)):
            raise KeyError(f"nothing was measured of {name!r} and {measure!r}")
        return verdicts.mean_over_seeds(numbers.values())

    def names(self, group: str | None = None) -> list[str]:
        """The sets of a group, or of all."""
        return list(dict.fromkeys(each.name for each in self if group in (None, each.group)))


@dataclasses.dataclass(frozen=True)
class ClaimRow:
    """A measure of a set against a threshold; see `claim`."""

    set: str
    measure: str
    by: Relation
    threshold: float
    role: str
    statement: str
    id: str
    figure: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ControlRow:
    """A measure of a set less that of the treatment; see `control`."""

    set: str
    measure: str
    against: str
    by: Relation
    margin: float
    role: str
    statement: str
    id: str
    figure: str


def claim(
    set: str,
    measure: str,
    by: Relation,
    threshold: float,
    *,
    role: str,
    reason: str,
    statement: str = "",
    id: str = "",
    figure: str = "",
) -> ClaimRow:
    """A row of `Study.claims`.

    Args:
        set: name of the set that is measured.
        measure: name of the number.
        by: "<=" or ">=".
        threshold: what it is held against, written down before the run.
        role: a statement of the essay such as "E5", or promise, aim, check.
        reason: why the threshold is what it is: a paper's figure, a null, an effect size.
        statement: words for readers; "" joins the set and the words of the measure.
        id: for links and for answers; "" joins set and measure.
        figure: the file of the figure that shows the number.
    """
    return ClaimRow(set, measure, by, threshold, role, statement, id or _slug(set, measure), figure, reason)


def control(
    set: str,
    measure: str,
    *,
    against: str,
    by: Relation,
    margin: float = 0.0,
    role: str = "check",
    statement: str = "",
    id: str = "",
    figure: str = "",
) -> ControlRow:
    """A row of `Study.controls`: something bad that the measurement must tell from a treatment, seed by seed.

    Also known as: an ablation, where the control is the treatment without one of its parts.

    Args:
        set: name of the control's set.
        measure: name of the number that both have.
        against: name of the treatment's set.
        by: ">=" where the control's number must be larger than the treatment's, "<=" where it must be smaller.
        margin: by how much; 0 asks that the interval of the difference excludes a tie.
        role: as of `claim`.
        statement: as of `claim`; "" names both sets.
        id: as of `claim`.
        figure: as of `claim`.
    """
    return ControlRow(set, measure, against, by, margin, role, statement, id or _slug(set, measure), figure)


Measure: TypeAlias = Callable[..., Iterable[Measured]]
"""(config, folder, progress) -> measurements, from what training left in the folder."""
Draw: TypeAlias = Callable[[Measurements, RunFolder], Figure | Explorer | None]
"""(measurements, folder) -> a figure or an explorer in the folder; None where there is nothing to draw."""


@dataclasses.dataclass(frozen=True)
class Study:
    """One question and its rows; `experiment` is what the command line runs.

    name, config, presets, smoke, train: as of `registry.Experiment`. measure: yields what was measured.
    words: by name of a measure what it is, for statements and heads of tables.
    claims, controls: rows; of a preset that does not measure a set, its rows are left out.
    figures: each draws one from the measurements. tables: by group of measurements its title and note.
    answer: sentences and history; the roles come from the rows.
    question: empty where a catalogue has it. more: other fields of `registry.Experiment`.
    """

    name: str
    config: type[Config]
    presets: Mapping[str, Config]
    smoke: Config
    train: Callable[..., None] | None
    measure: Measure
    words: Mapping[str, str]
    claims: tuple[ClaimRow, ...]
    controls: tuple[ControlRow, ...] = ()
    figures: tuple[Draw, ...] = ()
    tables: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    answer: Answer = Answer()
    question: str = ""
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # each field has its own type

    def __post_init__(self) -> None:
        ids = [row.id for row in self.rows]
        if twice := sorted({id for id in ids if ids.count(id) > 1}):
            raise ConfigError(f"study {self.name!r} has two rows called {twice[0]!r}")
        if unknown := sorted({row.measure for row in self.rows} - set(self.words)):
            raise ConfigError(f"study {self.name!r} claims something of {unknown[0]!r}, for which `words` has no words")

    @property
    def rows(self) -> tuple[ClaimRow | ControlRow, ...]:
        """Of claims and controls."""
        return (*self.claims, *self.controls)

    def experiment(self) -> Experiment:
        """What the command line runs."""
        return Experiment(
            self.name,
            self.question,
            self.config,
            self.presets,
            self.smoke,
            self.train,
            self.evaluate,
            answer=dataclasses.replace(self.answer, roles={row.id: row.role for row in self.rows}),
            thresholds={row.id: row.threshold for row in self.claims} | {row.id: row.margin for row in self.controls},
            **self.more,
        )

    def evaluate(self, config: Any, folder: RunFolder, progress: Progress) -> Outcome:  # of the study's own class
        """Measures, judges the rows, and draws the figures."""
        measured = Measurements(self.measure(config, folder, progress))
        with progress.phase("figures"):
            pictures = [draw(measured, folder) for draw in self.figures]
        figures = tuple(each for each in pictures if isinstance(each, Figure))
        explorers = tuple(each for each in pictures if isinstance(each, Explorer))
        return Outcome(tuple(self.judge(measured)), figures, tuple(self.show(measured)), explorers)

    def judge(self, measured: Measurements) -> Iterator[Claim]:
        """The claims and controls of all rows whose sets were measured."""
        counts = {(each.name, each.seed, measure): each.n for each in measured for measure in each.measures}
        for row in self.claims:
            for seed, (value, low, high) in measured.seeds(row.set, row.measure).items():
                words, n = row.statement or f"{row.set}: {self.words[row.measure]}", counts[row.set, seed, row.measure]
                more = {"figure": row.figure, "reason": row.reason}
                judged = verdicts.claim(
                    row.id, words, value, (low, high), row.by, row.threshold, n=n, seed=seed, **more
                )
                yield from answers.give_roles([judged], {row.id: row.role})
        for control in self.controls:
            treatments = measured.seeds(control.against, control.measure)
            for seed, number in measured.seeds(control.set, control.measure).items() if treatments else ():
                treatment = treatments.get(seed) or measured.mean(control.against, control.measure)
                words = control.statement or f"{control.set}, less {control.against}: {self.words[control.measure]}"
                more = {"against": control.against, "figure": control.figure}
                judged = verdicts.control(
                    control.id,
                    words,
                    number,
                    treatment,
                    control.by,
                    control.margin,
                    n=counts[control.set, seed, control.measure],
                    seed=seed,
                    **more,
                )
                yield from answers.give_roles([judged], {control.id: control.role})

    def show(self, measured: Measurements) -> Iterator[Table]:
        """A table of each group: a row for each set and seed, a column for each measure. The terminal shows the
        first.
        """
        for number, group in enumerate(dict.fromkeys(each.group for each in measured)):
            rows = [each for each in measured if each.group == group]
            names = list(dict.fromkeys(name for each in rows for name in each.measures))
            seeded = any(each.seed is not None for each in rows)
            head = ("set", *(("seed",) if seeded else ()), *(self.words.get(name, name) for name in names))
            cells: list[tuple[CellValue, ...]] = [
                (each.name, *((each.seed,) if seeded else ()), *(each.measures.get(name) for name in names))
                for each in rows
            ]
            title, note = self.tables.get(group, (group or "Everything that was measured", ""))
            yield Table(title, head, tuple(cells), note, main=number == 0)


def _number(measure: CellValue) -> Number:
    return measure if isinstance(measure, tuple) else (float(cast(float, measure)),) * 3


def _slug(*words: str) -> str:
    return "-".join(
        "".join(letter if letter.isalnum() or letter == "." else " " for letter in " ".join(words)).lower().split()
    )
