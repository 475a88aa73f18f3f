"""The page of faults, made from the rows of `faults` and the tests that name them:
`python -m experiments.documentation.faults_page`.
"""

import ast
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.documentation.faults import INPUTS, ROWS, RUNS, Fault
from gendiff.runs.reporting import json_files

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).with_name("pages") / "faults.md"
TRIED = ROOT / "tests" / "commands" / "foreign" / "last_run.json"
"""How often each parser was tried, as `python -m tests.commands.foreign.fuzzing` records it."""
HEAD = """<!-- written by `python -m experiments.documentation.faults_page`; edit faults.py, or the marks of tests -->
# Faults and wrong input

What happens when a run is disturbed or is given something wrong, and the tests that show it.
Tests marked *slow* run in `make test-slow`, the others in `make test`.
"""


class Test(NamedTuple):
    """A test, and the rows that its marks name."""

    file: str
    name: str
    slow: bool
    faults: tuple[str, ...]


def tests(folder: Path = ROOT / "tests") -> Iterator[Test]:
    """Every test with a mark `fault`, also on one case of its table, in the order of files and lines. Nothing is
    imported.
    """
    for path in sorted(folder.rglob("test_*.py")):
        if "mark.fault" not in path.read_text(encoding="utf-8"):
            continue
        for name, places, slow in defined(path):
            literals = tuple(_literals(places))
            if literals and not name.startswith("test_"):
                raise ValueError(f"{path}: the mark fault of {name} belongs to no test")
            if literals:
                yield Test(path.relative_to(folder.parent).as_posix(), name, slow, literals)


def defined(path: Path) -> Iterator[tuple[str, list[ast.expr], bool]]:
    """(name, where its marks stand, whether it or one of its cases is slow) of what a file defines."""
    text = path.read_text(encoding="utf-8")
    all_slow = "\npytestmark = pytest.mark.slow\n" in text
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            name, places = node.name, list(node.decorator_list)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, places = node.targets[0].id, [node.value]
        else:
            continue
        yield name, places, all_slow or any("mark.slow" in ast.unparse(part) for part in places)


def page(folder: Path = ROOT / "tests") -> str:
    """The text of the page.

    Raises:
        ValueError: where a test names a row that there is not.
    """
    by_fault: dict[str, list[Test]] = {row.fault: [] for row in ROWS}
    for test in tests(folder):
        for fault in test.faults:
            if fault not in by_fault:
                raise ValueError(
                    f"{test.file}: {test.name} names {fault!r}, which is no row of "
                    f"{Path(__file__).with_name('faults.py').name}"
                )
            by_fault[fault].append(test)
    parts = [HEAD, "## Runs\n", _table("fault", RUNS, by_fault)]
    for boundary, rows in INPUTS.items():
        parts += [
            f"\n## {boundary[0].upper()}{boundary[1:]}\n",
            _table("mistake", [Fault(f"{boundary}: {row}", rows[row]) for row in rows], by_fault),
        ]
    parts += ["\n## Parsers of files and requests\n", *_parsers(json.loads(TRIED.read_text(encoding="utf-8")))]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Writes the page and prints its path."""
    print(json_files.write_bytes(PAGE, page().encode()))


def _parsers(record: dict[str, Any]) -> Iterator[str]:
    least = min(row["tried"] for row in record["parsers"].values())
    yield (
        f"Each was handed valid files in which bytes or values were changed, for at least {record['seconds']:g} s and "
        f"{least} times.\nIt held where it read them, or refused them as the row above says. Slow tests try each for a "
        "minute, with other\nchanges every time.\n"
    )
    yield "| parser | tried | held |\n| --- | --- | --- |"
    for name, row in record["parsers"].items():
        yield f"| {name} | {row['tried']} | {row['held']} |"


def _table(kind: str, rows: Iterable[Fault], by_fault: dict[str, list[Test]]) -> str:
    lines = [f"| {kind} | what happens | tested by |", "| --- | --- | --- |"]
    for fault, happens in rows:
        cell = "<br>".join(_shown(test) for test in dict.fromkeys(by_fault[fault])) or "not tested"
        lines.append(f"| {fault.split(': ', 1)[-1]} | {happens} | {cell} |")
    return "\n".join(lines)


def _shown(test: Test) -> str:
    words = test.name.removeprefix("test_").replace("_", " ")
    return (
        f"[{test.file.removeprefix('tests/').removesuffix('.py')}](../../../{test.file}): "
        f"{words}{' (*slow*)' if test.slow else ''}"
    )


def _literals(places: Iterable[ast.expr]) -> Iterator[str]:
    for tree in places:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                yield from (ast.literal_eval(argument) for argument in node.args)


if __name__ == "__main__":
    main()
