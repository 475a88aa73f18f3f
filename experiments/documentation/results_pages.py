"""A page for each committed result, made from its results.json: `python -m experiments.documentation.results_pages`
writes them all.

No number on these pages is written by hand. What the numbers mean, in words, is in readings/NAME.md beside this file.
The roles of the claims and the sentences that answer are the study's; where they have changed since its run, its
results.json is written anew.
"""

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from experiments import catalogue as experiments
from experiments.documentation import statements
from gendiff.diffusion.samplers import catalogue
from gendiff.runs import registry
from gendiff.runs.reporting import answers, formatting, json_files, results, verdicts, words
from gendiff.runs.reporting.results import CellValue, Results, Table
from gendiff.runs.reporting.verdicts import Summary

FOLDER = Path(__file__).resolve().parents[1] / "results"
READINGS = Path(__file__).with_name("readings")
SAMPLERS = Path(__file__).with_name("pages") / "samplers.md"
FOLDED = 30
"""Rows above which a table is folded away."""


def pages(folder: Path = FOLDER) -> Iterator[tuple[Path, str]]:
    """(file, text) of each result's page and its model cards, of the list of results, and of samplers, which has a
    table between marks.
    """
    outcomes = [concluded(results.read(path)) for path in sorted(folder.glob(f"*/{results.FILE}"))]
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"text": _text, "heading": lambda words: _text(words[:1].upper() + words[1:])}
    environment.globals |= {
        "claims": _claims,
        "cells": _cells,
        "duration": formatting.duration,
        "plain": _plain,
        "counts": _counts,
    }
    measured = {outcome.name for outcome in outcomes}
    waiting = [registry.load(name, experiments.EXPERIMENTS) for name in experiments.EXPERIMENTS if name not in measured]
    rows = {
        chapter: [_row(number, text, outcomes) for number, text in each.items()]
        for chapter, each in statements.CHAPTERS.items()
    }
    promises = [_counted(outcomes, "promise", text, named) for text, named in statements.PROMISES.items()]
    aims = [
        _counted(outcomes, "aim", "", {outcome.name: ("*",)}) for outcome in outcomes if "aim" in outcome.sections()
    ]
    index = environment.get_template("results.md.jinja")
    yield (
        folder / "README.md",
        index.render(outcomes=outcomes, waiting=waiting, chapters=rows, promises=promises, aims=aims),
    )
    before, _, after = re.split(
        r"(?<=results_pages -->\n)(.*)(?=<!-- end -->)", SAMPLERS.read_text(encoding="utf-8"), flags=re.S
    )
    yield (
        SAMPLERS,
        before + sampler_table(next(outcome for outcome in outcomes if outcome.name == "certify")) + "\n" + after,
    )
    for outcome in outcomes:
        file = READINGS / f"{outcome.name}.md"
        reading = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        experiment = (
            registry.load(outcome.name, experiments.EXPERIMENTS) if outcome.name in experiments.EXPERIMENTS else None
        )
        cards = (
            dict(experiment.pages(folder / outcome.name))
            if experiment is not None and experiment.pages is not None
            else {}
        )
        elsewhere = results.on_machines(folder / outcome.name)[1:]
        sections = [
            (results.SECTIONS[role], results.NOTES.get(role, ""), each) for role, each in outcome.sections().items()
        ]
        page = environment.get_template("result.md.jinja").render(
            outcome=outcome,
            sections=sections,
            by_machine=_by_machine([outcome, *elsewhere]) if elsewhere else "",
            reading=reading,
            cards=[card.stem for card in cards],
            before=experiment.answer.before if experiment is not None else (),
            clips={path.name: path.stem.replace("_", " ") for path in sorted((folder / outcome.name).glob("*.webp"))},
            words=words.used_in(outcome),
        )
        yield folder / outcome.name / "README.md", page
        yield from cards.items()


def concluded(outcome: Results) -> Results:
    """A committed result with what its study answers today: roles, verdict and sentences."""
    if outcome.name not in experiments.EXPERIMENTS:
        return outcome
    return answers.conclude(outcome, registry.load(outcome.name, experiments.EXPERIMENTS).answer)


def sampler_table(certified: Results) -> str:
    """Every method of the catalogue, with what the experiment `certify` measured of it, as Markdown."""
    short, long = (
        {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
        for table in certified.tables[:2]
    )
    errors = [name for name in certified.tables[1].columns if name.startswith("error at")]
    rows = []
    for method in catalogue.METHODS.values():
        theory = " ".join(f"{kind} {order}".removeprefix("flow ") for kind, order in method.stated.items()) or "—"
        measured = str(short[method.call]["measured"]) if method.call in short else "not measured"
        numbers = [_column([long[method.call][name]])[0] if method.call in long else "" for name in errors]
        rows.append(
            (f"`{method.call}`", method.evaluations, theory, _unbroken(measured), *numbers, _text(method.source))
        )
    names = [name.removesuffix(" evaluations") for name in errors]
    return _rows(
        ("sampler", "evaluations", "order by theory", "measured", *names, "source"),
        rows,
        right=range(4, 4 + len(errors)),
    )


def main() -> None:
    """Writes every page and prints its path; before it each results.json whose study answers otherwise than it says."""
    for path in sorted(FOLDER.glob(f"*/{results.FILE}")):
        stored = results.read(path)
        if (outcome := concluded(stored)) != stored:
            print(results.write(outcome, path.parent))
    for file, text in pages():
        print(json_files.write_bytes(file, text.encode()))


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What one study says of a statement."""

    name: str
    sentence: str


def _row(number: str, text: str, outcomes: Iterable[Results]) -> dict[str, Any]:
    """A statement of the essay: what all claims on it say together, and the sentence of each study."""
    summaries, studies = [], []
    for outcome in outcomes:
        here = [each for each in outcome.sections().get("essay", []) if each.first.essay == number]
        summaries += here
        if here or number in outcome.statements:
            studies.append(_Measured(outcome.name, outcome.statements.get(number, "")))
    return {
        "number": number,
        "text": text,
        "word": verdicts.in_words(summaries) if summaries else "",
        "studies": studies,
        "command": statements.COMMANDS.get(number),
    }


def _counted(outcomes: Iterable[Results], role: str, text: str, named: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """How many claims of a role hold, and those that do not. named: by study the patterns of their ids."""
    claims = [
        each
        for outcome in outcomes
        for each in outcome.sections().get(role, [])
        if any(fnmatch.fnmatchcase(each.id, pattern) for pattern in named.get(outcome.name, ()))
    ]
    missed = [each for each in claims if each.verdict != "PASS"]
    lines = [
        f"{_text(each.first.statement)}: {_mean(each)}, needed {_unbroken(_needed(each))}, {each.verdict}"
        for each in missed
    ]
    return {
        "text": text,
        "names": list(named),
        "held": len(claims) - len(missed),
        "count": len(claims),
        "missed": "<br>".join(lines),
    }


def _counts(outcome: Results) -> str:
    return ", ".join(f"{name} {count}" for name, count in outcome.counts().items())


def _claims(summaries: Iterable[Summary]) -> str:
    rows = []
    for each in summaries:
        verdict = each.word if each.first.role != "essay" else f"{each.first.essay} {each.word}"
        needed = f"{_needed(each)}<br>{_text(each.first.reason)}" if each.first.reason else _needed(each)
        rows.append([_text(each.first.statement), needed, _measured(each), verdict])
    return _folded(("statement", "needed", "measured", "verdict"), rows, ())


def _measured(summary: Summary) -> str:
    """The mean over the seeds, then each seed; a number alone is its own mean."""
    numbers = [(claim.value, *claim.interval) for claim in summary.claims]
    if len(numbers) == 1:
        return _mean(summary)
    (value, interval), *seeds = formatting.measured([summary.number, *numbers])
    return "<br>".join(
        [f"**{_unbroken(f'{value} {interval}')}**", *(_unbroken(f"{each} {ends}") for each, ends in seeds)]
    )


def _mean(summary: Summary) -> str:
    ((value, interval),) = formatting.measured([summary.number])
    return _unbroken(f"{value} {interval}")


def _needed(summary: Summary) -> str:
    return formatting.needed(summary.first.relation, summary.first.threshold)


def _by_machine(outcomes: list[Results]) -> str:
    """A row for each claim, those of the first outcome first; a column for each machine."""
    columns = [
        _text(f"{outcome.machine['cpu']}, {outcome.machine['cores']} cores, jax {outcome.versions['jax']}")
        for outcome in outcomes
    ]
    verdicts_by_outcome = [verdicts.by_id(outcome.claims) for outcome in outcomes]

    def cell(there: dict[str, Summary], id: str) -> str:
        return f"{_measured(there[id])}<br>{there[id].verdict} (needed: {_needed(there[id])})" if id in there else ""

    # the words of the first outcome that has it
    newest = {id: each for there in reversed(verdicts_by_outcome) for id, each in there.items()}
    ordered = dict.fromkeys(id for there in verdicts_by_outcome for id in there)
    rows = [[_text(newest[id].first.statement), *(cell(there, id) for there in verdicts_by_outcome)] for id in ordered]
    return _folded(("statement", *columns), rows, ())


def _cells(table: Table) -> str:
    columns = [[row[number] for row in table.rows] for number in range(len(table.columns))]
    right = [number for number, column in enumerate(columns) if all(map(formatting.is_number, column))]
    return _folded([_text(name) for name in table.columns], list(zip(*map(_column, columns), strict=True)), right)


def _folded(head: Iterable[str], rows: list[Any], right: Iterable[int]) -> str:
    """The rows; behind a summary where there are many."""
    text_rows = _rows(head, rows, right)
    many = f"<details markdown>\n<summary>{len(rows)} rows</summary>\n\n{text_rows}\n\n</details>"
    return many if len(rows) > FOLDED else text_rows


def _column(cells: list[CellValue]) -> list[str]:
    def cell_text(cell: CellValue, text: str, interval: str) -> str:
        words = f"`{text}`" if re.fullmatch(r"\w+\(.*\)", text) else _text(text)
        return _unbroken(f"{text} {interval}") if interval else words if isinstance(cell, str) else text

    return [cell_text(cell, *texts) for cell, texts in zip(cells, formatting.column(cells), strict=True)]


def _unbroken(words: str) -> str:
    """Words that stay on one line."""
    return words.replace(" ", "\u00a0")


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[int] = ()) -> str:
    names, aligned = list(head), set(right)
    marks = ["---:" if column in aligned else "---" for column in range(len(names))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, marks, *rows))


def _text(words: str) -> str:
    """Words of a result, safe in a cell of a Markdown table."""
    marks = {"&": "&amp;", "<": "&lt;", "|": "\\|", "$": "\\$", "*": "\\*"}
    return "".join(marks.get(letter, letter) for letter in words)


if __name__ == "__main__":
    main()
