"""A page for each committed result, made from its results.json: `python -m experiments.documentation.results_pages` writes them all.

No number on these pages is written by hand. What the numbers mean, in words, is in readings/NAME.md beside this file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from experiments.reporting import formatting, json_files, results, verdicts
from experiments.reporting.results import Cell, Results, Table
from experiments.reporting.verdicts import Summary
from gendiff.diffusion.samplers import catalogue

FOLDER = Path(__file__).resolve().parents[1] / "results"
READINGS = Path(__file__).with_name("readings")
SAMPLERS = Path(__file__).with_name("pages") / "samplers.md"
FOLDED = 30
"""Rows above which a table is folded away."""
COMMANDS = {"bench": "make bench"}
"""How a result is made again, where that is not `python -m experiments run NAME`."""


def pages(folder: Path = FOLDER) -> Iterator[tuple[Path, str]]:
    """(file, text) of each result's page, of the list of them all, and of the page of samplers, which has a table between two marks."""
    outcomes = [results.read(path.parent) for path in sorted(folder.glob(f"*/{results.FILE}"))]
    yield folder / "README.md", index(outcomes)
    before, _, after = re.split(r"(?<=results_pages -->\n)(.*)(?=<!-- end -->)", SAMPLERS.read_text(encoding="utf-8"), flags=re.S)
    yield SAMPLERS, before + sampler_table(results.read(folder / "certify")) + "\n" + after
    for outcome in outcomes:
        reading = READINGS / f"{outcome.name}.md"
        yield folder / outcome.name / "README.md", page(outcome, reading.read_text(encoding="utf-8") if reading.is_file() else "")


def index(outcomes: Iterable[Results]) -> str:
    """The list of results, as Markdown."""
    rows = [
        (f"[{outcome.name}]({outcome.name}/README.md)", _text(outcome.question), outcome.verdict, *_counts(outcome), _time(outcome))
        for outcome in outcomes
    ]
    about = (
        "Each page is generated from the `results.json` beside it. A result is PASS if all its claims and controls are. "
        "FAIL and INCONCLUSIVE stand here as they came out."
    )
    head = ("experiment", "question", "verdict", "PASS", "FAIL", "INCONCLUSIVE", "time")
    return _joined("# Results", about, _rows(head, rows, right=(3, 4, 5)))


def page(outcome: Results, reading: str = "") -> str:
    """The page of one result, as Markdown: pictures, claims, controls, tables, and how it was made."""
    summaries = verdicts.by_id(outcome.claims).values()
    return _joined(
        f"# {outcome.name}: {outcome.verdict}",
        _text(outcome.question),
        *(f"![{_text(figure.caption)}]({figure.file})\n\n*{_text(figure.caption)}*" for figure in outcome.figures),
        *(_claims("Claims", [each for each in summaries if each.first.kind == "claim"])),
        *(_claims("Controls", [each for each in summaries if each.first.kind == "control"])),
        *(["## What it means", reading.strip()] if reading else []),
        *(["## Numbers", *map(_table, outcome.tables)] if outcome.tables else []),
        "## How it was made",
        _rows(("", ""), _facts(outcome).items()),
    )


def sampler_table(certified: Results) -> str:
    """Every method of the catalogue, with what the experiment `certify` measured of it, as Markdown."""
    short, long = ({str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows} for table in certified.tables[:2])
    errors = [name for name in certified.tables[1].columns if name.startswith("error at")]
    rows = []
    for method in catalogue.METHODS.values():
        theory = " ".join(f"{kind} {order}".removeprefix("flow ") for kind, order in method.stated.items()) or "—"
        measured = str(short[method.call]["measured"]) if method.call in short else "not measured"
        numbers = [_column([long[method.call][name]])[0] if method.call in long else "" for name in errors]
        rows.append((f"`{method.call}`", method.evaluations, theory, _unbroken(measured), *numbers, _text(method.source)))
    names = [name.removesuffix(" evaluations") for name in errors]
    return _rows(("sampler", "evaluations", "order by theory", "measured", *names, "source"), rows, right=range(4, 4 + len(errors)))


def main() -> None:
    """Writes every page and prints its path."""
    for file, text in pages():
        print(json_files.write_bytes(file, text.encode()))


def _claims(title: str, summaries: list[Summary]) -> list[str]:
    if not summaries:
        return []
    notes = {
        "Claims": "The 95 % interval of each seed stands in brackets.",
        "Controls": "Each control must miss a threshold. PASS means that it misses as it must.",
    }
    rows = [
        (_text(each.first.statement), formatting.needed(each.first.relation, each.first.threshold), _numbers(each), each.verdict)
        for each in summaries
    ]
    return [f"## {title}", notes[title], _folded(title, ("statement", "needed", "measured", "verdict"), rows, ())]


def _numbers(summary: Summary) -> str:
    """The value and interval of each seed, which share their number of decimals."""
    texts = formatting.measured((claim.value, *claim.interval) for claim in summary.claims)
    return "<br>".join(_unbroken(f"{value} {interval}") for value, interval in texts)


def _table(table: Table) -> str:
    columns = [[row[number] for row in table.rows] for number in range(len(table.columns))]
    right = [number for number, column in enumerate(columns) if all(map(formatting.is_number, column))]
    texts = [_column(column) for column in columns]
    rows = [list(row) for row in zip(*texts, strict=True)]
    return f"### {_text(table.title)}\n\n" + _folded(table.title, [_text(name) for name in table.columns], rows, right)


def _folded(title: str, head: Iterable[str], rows: list, right: Iterable[int]) -> str:
    """The rows; behind a summary where there are many."""
    shown = _rows(head, rows, right)
    if len(rows) <= FOLDED:
        return shown
    return f"<details markdown>\n<summary>{len(rows)} rows</summary>\n\n{shown}\n\n</details>"


def _facts(outcome: Results) -> dict[str, str]:
    return {
        "command": f"`{COMMANDS.get(outcome.name, f'python -m experiments run {outcome.name}')}`",
        "time": f"{_time(outcome)} ({', '.join(f'{stage} {formatting.duration(spent)}' for stage, spent in outcome.seconds.items())})",
        "seeds": ", ".join(map(str, outcome.seeds)) or "none",
        "commit": f"`{outcome.commit}`",
        "machine": ", ".join(f"{name} {_plain(value)}" for name, value in outcome.machine.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in outcome.versions.items()),
        "configuration": f"in [{results.FILE}]({results.FILE})",
    }


def _time(outcome: Results) -> str:
    return formatting.duration(sum(outcome.seconds.values()))


def _counts(outcome: Results) -> list[str]:
    summaries = verdicts.by_id(outcome.claims).values()
    return [str(sum(each.verdict == verdict for each in summaries)) for verdict in ("PASS", "FAIL", "INCONCLUSIVE")]


def _column(cells: list[Cell]) -> list[str]:
    shown = zip(cells, formatting.column(cells), strict=True)
    return [
        _unbroken(f"{text} {interval}") if interval else _code(text) if isinstance(cell, str) else text for cell, (text, interval) in shown
    ]


def _code(text: str) -> str:
    return f"`{text}`" if re.fullmatch(r"\w+\(.*\)", text) else _text(text)


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
    marks: Mapping[str, str] = {"&": "&amp;", "<": "&lt;", "|": "\\|", "$": "\\$", "*": "\\*"}
    return "".join(marks.get(letter, letter) for letter in words)


def _joined(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
