"""What a study answers: the role of each claim, and sentences whose numbers are those that were measured."""

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast, get_args

from gendiff.core.errors import ConfigError
from gendiff.runs.reporting import formatting, verdicts
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.results import Results
from gendiff.runs.reporting.verdicts import Claim, Number, Role

_NUMBER = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")
_STATEMENT = re.compile(r"E[1-9]\d?")
_ROLES: Mapping[str, Role | Literal[""]] = {role: role for role in ("", *get_args(Role)) if role != "essay"}
_SPEC = re.compile(r"(\.\d+[fe%]|\.?%)?( ?interval)?")


class NotMeasuredError(ConfigError):
    """A sentence names a number that the results do not hold."""


@dataclasses.dataclass(frozen=True)
class Change:
    """Something that happened to a study before its committed run: an earlier full run, or a change of a threshold,
    task, metric or budget.

    date: as in "2026-05-17". commit: of the run or the change, in at least seven digits. what, why: one sentence each.
    """

    date: str
    commit: str
    what: str
    why: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number of a table: in the row that has these entries, in this column; of a table with seeds, the mean over the
    rows of all.

    table: how the table's title begins. over: entries of the row whose number of the same column divides this one.
    """

    table: str
    row: tuple[str | int | float, ...]
    column: str
    over: tuple[str | int | float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a study answers, as data.

    roles: from a pattern of claim ids (as in file names: * is anything) to the role, or to the statement of the essay
        that the claim tests,
      such as "E5"; the first pattern that fits counts.
    text: the answer to the question in one line, with the main number. statements: of each statement of the essay that
        the study tests, a
      short sentence with one number.
      In both, {id} is the mean over seeds of the claim with that id, {id:.2f} and {id:.0%} have the digits asked for,
      and {id:interval} or {id:.2f interval} has the 95 % interval behind it; {name} is a number of `numbers`.
    numbers: from a name to a cell of a table.
    picture: the file of the figure that a reader should see first; empty for the first of all.
    before: what came before the committed run, the oldest first.
    """

    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    text: str = ""
    statements: Mapping[str, str] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, Cell] = dataclasses.field(default_factory=dict)
    picture: str = ""
    before: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        """ConfigError for an unknown format, which must not wait for the end of a run."""
        for text in (self.text, *self.statements.values()):
            for match in _NUMBER.finditer(text):
                _format(match[2] or "", match[1])


def give_roles(claims: Iterable[Claim], roles: Mapping[str, str]) -> tuple[Claim, ...]:
    """The claims with the role that each id has. ConfigError for a role that there is not."""
    judged = ((each, _role(each.id, roles)) for each in claims)
    return tuple(dataclasses.replace(each, role=role, essay=essay) for each, (role, essay) in judged)


def conclude(outcome: Results, answer: Answer, *, sentences: bool = True) -> Results:
    """The results with the roles of their claims, the verdict that follows, and the sentences; the best picture first.

    A run that is not judged (a smoke run, or one of numbers of its own) has no sentences. sentences: whether one that
    is judged has them.
    """
    claims = give_roles(outcome.claims, answer.roles)
    figures = (
        tuple(sorted(outcome.figures, key=lambda figure: figure.file != answer.picture))
        if answer.picture
        else outcome.figures
    )
    if not outcome.judged:
        return dataclasses.replace(outcome, claims=claims, figures=figures)
    roled = dataclasses.replace(outcome, claims=claims, figures=figures, verdict=verdicts.verdict(claims))
    if not sentences:
        return roled
    statements = {name: fill(text, roled, answer.numbers) for name, text in answer.statements.items()}
    return dataclasses.replace(roled, answer=fill(answer.text, roled, answer.numbers), statements=statements)


def fill(text: str, outcome: Results, numbers: Mapping[str, Cell]) -> str:
    """The sentence with the measured numbers.

    Raises:
        NotMeasuredError: for a name without a number.
        ConfigError: for an unknown format.
    """
    means = {id: summary.number for id, summary in verdicts.by_id(outcome.claims).items()}

    def formatted(match: re.Match[str]) -> str:
        name, spec = match[1], match[2] or ""
        if name in numbers:
            value: CellValue = _number(outcome, numbers[name])
        elif name in means:
            value = means[name]
        else:
            names = f"names {name!r}, which is neither a claim nor among its numbers"
            raise NotMeasuredError(f"the answer of {outcome.name} {names}")
        return _shown(value, spec, name) if isinstance(value, int | float | tuple) else str(value)

    return _NUMBER.sub(formatted, text)


def _role(id: str, roles: Mapping[str, str]) -> tuple[Role | Literal[""], str]:
    """(the role of a claim, its statement of the essay, if any)."""
    role = next((role for pattern, role in roles.items() if fnmatch.fnmatchcase(id, pattern)), "")
    if _STATEMENT.fullmatch(role):
        return "essay", role
    if role not in _ROLES:
        raise ConfigError(f"claim {id!r} has role {role!r}; a role is promise, aim, check, or a statement such as E5")
    return _ROLES[role], ""


def _number(outcome: Results, cell: Cell) -> CellValue:
    number = _cell(outcome, cell)
    if not cell.over:
        return number
    divisor = _cell(outcome, dataclasses.replace(cell, row=cell.over))
    if not isinstance(number, int | float) or not isinstance(divisor, int | float):
        raise ConfigError(f"the ratio of {cell.row} and {cell.over} needs numbers without intervals")
    return number / divisor


def _cell(outcome: Results, cell: Cell) -> CellValue:
    for table in outcome.tables:
        if table.title.startswith(cell.table):
            rows = [row for row in table.rows if all(entry in row for entry in cell.row)]
            if cell.column in table.columns and (len(rows) == 1 or (rows and "seed" in table.columns)):
                cells = [row[table.columns.index(cell.column)] for row in rows]
                numbers = (each if isinstance(each, tuple) else (float(cast(float, each)),) * 3 for each in cells)
                return cells[0] if len(cells) == 1 else verdicts.mean_over_seeds(numbers)
            raise NotMeasuredError(
                f"table {table.title!r} of {outcome.name} has {len(rows)} rows with {cell.row}; columns: "
                f"{table.columns}"
            )
    raise NotMeasuredError(f"{outcome.name} has no table whose title begins with {cell.table!r}")


def _shown(value: Number | float | int, spec: str, name: str) -> str:
    digits, interval = _format(spec, name)
    ends: Sequence[float] = value if isinstance(value, tuple) else (value,) * 3
    if digits is None:
        number, between = formatting.measured([(float(ends[0]), float(ends[1]), float(ends[2]))])[0]
        number = formatting.number(value) if isinstance(value, int) else number
    else:
        number, low, high = (
            format(end, digits.replace(".%", ".0%")).replace("-", "−").replace("%", "\u00a0%") for end in ends
        )
        between = f"[{low}, {high}]"
    return f"{number} {between}" if interval else number


def _format(spec: str, name: str) -> tuple[str | None, str | None]:
    """(how digits are written, whether an interval follows), each None where the format does not say it."""
    parts = _SPEC.fullmatch(spec)
    if parts is None:
        raise ConfigError(f"format {spec!r} of {name!r}: give .2f, .0%, interval, or .2f interval")
    return parts[1], parts[2]
