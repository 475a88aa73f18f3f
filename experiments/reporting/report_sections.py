"""The sections of report.html. Every text that comes from a run is escaped here; an empty section is an empty string."""

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.reporting import formatting
from experiments.reporting.results import Cell, Figure, Table
from experiments.reporting.verdicts import Claim, Summary, Verdict
from gendiff.core.errors import DataError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WIDE = 1400
"""Pixels across from which a picture needs more room than a column gives it: small multiples in several columns, not one plot."""


def escape(text: Any) -> str:
    return html.escape(str(text), quote=True)


def badge(verdict: Verdict) -> str:
    """The verdict as a word on its colour, so that it can be read without seeing the colour."""
    return f'<span class="badge {verdict}">{verdict}</span>'


def claims(title: str, note: str, summaries: Sequence[Summary], numbers: Mapping[str, int]) -> str:
    """A table with one group of rows a claim and one row a seed. numbers: of each picture by its file, to which a claim may link."""
    if not summaries:
        return ""
    heads = ("verdict", "Verdict"), ("statement", "Claim"), ("number needed", "Needed"), ("seed", "Seed"), ("number value", "Value")
    columns = (*heads, ("number interval", "95 % interval"), ("strip", ""), ("number samples", "Samples"))
    head = "".join(f'<th scope="col" class="{kind}">{text}</th>' for kind, text in columns)
    bodies = "".join(_claim_rows(summary, numbers) for summary in summaries)
    table = f'<div class="scroll"><table class="claims"><thead><tr>{head}</tr></thead>{bodies}</table></div>'
    return f'<section><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{table}</section>'


def figures(folder: Path, shown: Sequence[Figure], numbers: Mapping[str, int]) -> str:
    """The pictures with their captions; a wide one has a row of its own. Raises DataError for one that is missing or no PNG."""
    items = []
    for each in shown:
        image = f'<img src="{data_uri(folder / each.file)}" alt="{escape(each.caption)}">'
        opened = figure("wide" if _width(folder / each.file) >= WIDE else "", numbers[each.file])
        items.append(f'{opened}<div class="picture">{image}</div>{caption(each.caption, numbers[each.file])}</figure>')
    return f'<section><h2>Figures</h2><div class="figures">{"".join(items)}</div></section>' if items else ""


def figure(kind: str, number: int) -> str:
    """The opening tag of a figure that can be linked to."""
    return f'<figure id="figure-{number}"' + (f' class="{kind}">' if kind else ">")


def caption(text: str, number: int) -> str:
    return f"<figcaption><b>Figure {number}.</b> {escape(text)}</figcaption>"


def tables(shown: Sequence[Table]) -> str:
    """The further numbers; a column of numbers is right-aligned, a number with its interval shows both."""
    return f"<section><h2>Numbers</h2>{''.join(map(_table, shown))}</section>" if shown else ""


def seconds(spent: dict[str, float]) -> str:
    """The time of each stage and its share of the longest."""
    longest = max(spent.values(), default=0.0)
    rows = "".join(
        f'<tr><th scope="row">{escape(stage)}</th><td class="number">{formatting.duration(time)}</td>'
        f'<td class="share"><span style="width:{100 * time / longest if longest > 0 else 0:.1f}%"></span></td></tr>'
        for stage, time in spent.items()
    )
    return f'<section><h2>Time</h2><div class="scroll"><table class="plain"><tbody>{rows}</tbody></table></div></section>' if rows else ""


def pairs(title: str, entries: dict[str, Any]) -> str:
    """Names and values, those of nested dicts under dotted names."""
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td class="mono">{escape(value)}</td></tr>' for name, value in _flat(entries))
    return (
        f'<section><h2>{escape(title)}</h2><div class="scroll"><table class="plain"><tbody>{rows}</tbody></table></div></section>'
        if rows
        else ""
    )


def data_uri(path: Path) -> str:
    """The PNG itself as an address. Raises DataError for a file that is missing or no PNG."""
    return "data:image/png;base64," + base64.b64encode(_png(path)).decode("ascii")


def _png(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not content.startswith(PNG_SIGNATURE):
        raise DataError(f"{path}: is no PNG")
    return content


def _width(path: Path) -> int:
    return int.from_bytes(_png(path)[16:20], "big")  # the header's first field


def _claim_rows(summary: Summary, numbers: Mapping[str, int]) -> str:
    first, span = summary.first, f' rowspan="{len(summary.claims)}"'
    decimals = formatting.places(number for claim in summary.claims for number in (claim.value, *claim.interval))
    number = numbers.get(first.figure)
    link = "" if number is None else f' <a href="#figure-{number}">Figure {number}</a>'
    shared = (
        f'<td class="verdict"{span}>{badge(summary.verdict)}</td>'
        f'<td class="statement"{span}><p>{escape(first.statement)}</p><code class="soft">{escape(summary.id)}</code>{link}</td>'
        f'<td class="number needed"{span}>{escape(formatting.needed(first.relation, first.threshold))}</td>'
    )
    rows = [
        f'<td class="seed">{"" if claim.seed is None else claim.seed}</td>'
        f'<td class="number value">{formatting.number(claim.value, decimals)}</td>'
        f'<td class="number interval">{formatting.interval(*claim.interval, decimals)}</td>'
        f'<td class="strip">{_strip(claim, summary.claims)}</td>'
        f'<td class="number samples">{formatting.number(claim.n)}</td>'
        for claim in summary.claims
    ]
    return "<tbody>" + "".join(f"<tr>{shared if number == 0 else ''}{row}</tr>" for number, row in enumerate(rows)) + "</tbody>"


def _strip(claim: Claim, seeds: Sequence[Claim]) -> str:
    """The interval against the threshold, drawn on the scale that all seeds of the claim share."""
    ends = [end for each in seeds for end in (*each.interval, each.threshold, each.value) if math.isfinite(end)]
    if not all(map(math.isfinite, (*claim.interval, claim.value, claim.threshold))):
        return ""
    low, high = min(ends), max(ends)
    width = (high - low) or abs(high) or 1.0

    def at(value: float) -> float:
        return 4 + 92 * (value - low) / width

    bound, left, right = at(claim.threshold), at(claim.interval[0]), at(claim.interval[1])
    allowed = (0.0, bound) if claim.relation == "<=" else (bound, 100 - bound)
    bar = max(right - left, 1.2)  # an interval of no width must still be seen
    return (
        '<svg viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="allowed" x="{allowed[0]:.2f}" y="0" width="{allowed[1]:.2f}" height="16"/>'
        '<line class="track" x1="0" y1="8" x2="100" y2="8"/>'
        f'<line class="bound" x1="{bound:.2f}" y1="0" x2="{bound:.2f}" y2="16"/>'
        f'<rect class="span {claim.verdict}" x="{(left + right - bar) / 2:.2f}" y="5" width="{bar:.2f}" height="6"/></svg>'
    )


def _table(table: Table) -> str:
    numeric = [all(_is_number(row[column]) for row in table.rows) for column in range(len(table.columns))]
    decimals = [formatting.places(_floats(row[column] for row in table.rows)) for column in range(len(table.columns))]
    marks = [' class="number"' if each else "" for each in numeric]
    head = "".join(f'<th scope="col"{mark}>{escape(name)}</th>' for mark, name in zip(marks, table.columns, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{mark}>{_cell(cell, places)}</td>" for mark, places, cell in zip(marks, decimals, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    body = f'<table class="plain numbers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<h3>{escape(table.title)}</h3><div class="scroll">{body}</div>'


def _cell(cell: Cell, decimals: int | None) -> str:
    if isinstance(cell, tuple):
        return f'{formatting.number(cell[0], decimals)} <span class="interval">{formatting.interval(cell[1], cell[2], decimals)}</span>'
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None else formatting.number(cell, decimals) if isinstance(cell, int | float) else escape(cell)


def _floats(cells: Iterable[Cell]) -> Iterable[float]:
    for cell in cells:
        if isinstance(cell, float | tuple):
            yield from cell if isinstance(cell, tuple) else (cell,)


def _is_number(cell: Cell) -> bool:
    return cell is None or isinstance(cell, tuple) or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _flat(entries: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in entries.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == {} else str(value)
