"""The report of a run: one self-contained HTML file for people, one plain table for the terminal."""

import base64
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from experiments.reporting import formatting, json_files, report_sprites, results, verdicts
from experiments.reporting.results import Results, Table
from experiments.reporting.verdicts import Claim, Kind, Summary
from gendiff.core.errors import DataError

FILE = "report.html"
SPRITES = "denoising*.png"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WIDE = 1400
"""Pixels across from which a picture needs more room than a column gives it: small multiples in several columns, not one plot."""
CLAIM_NOTE = (
    "A claim passes if the unfavourable end of its 95 % interval clears the threshold in every seed. It fails if the favourable end misses "
    "it in any seed. It is inconclusive otherwise. The shaded side of each strip is the allowed one."
)
CONTROL_NOTE = (
    "Each control must miss a named threshold, or the measurement could not tell good from bad. PASS means that it misses as it must."
)
SMOKE = "A smoke run: it shows that everything runs. Its numbers mean nothing."
NOT_JUDGED = "The numbers of this run are those of no named preset, so there is no verdict."


def write(folder: str | os.PathLike[str], outcome: Results | None = None, notice: str = "") -> Path:
    """Makes report.html of a run folder from its results.json, the pictures named there and every other denoising*.png; returns its path.

    outcome: takes the place of results.json. notice: a sentence below the question. The file needs no other file and no network.
    Raises DataError, naming the file, where results or a figure are missing or broken.
    """
    place = Path(folder)
    outcome = results.read(place) if outcome is None else outcome
    listed = {each.file for each in outcome.explorers} | {each.file for each in outcome.figures}
    sprites = [path for path in sorted(place.glob(SPRITES)) if path.name not in listed]
    numbers = _numbers(outcome, sprites)
    longest = max(outcome.seconds.values(), default=0.0)
    page = _template().render(
        outcome=outcome,
        judged=_judged(outcome),
        notice=notice or _notice(outcome),
        facts=_facts(outcome),
        explorers=[report_sprites.explorer(place / each.file, each, numbers[each.file], data_uri) for each in outcome.explorers],
        scrubbers=[report_sprites.scrubber(path, numbers[path.name], data_uri) for path in sprites],
        figures=[
            {
                "number": numbers[each.file],
                "caption": each.caption,
                "data": data_uri(place / each.file),
                "wide": int.from_bytes(_png(place / each.file)[16:20], "big") >= WIDE,  # the header's first field
            }
            for each in outcome.figures
        ],
        claim_note=CLAIM_NOTE,
        control_note=CONTROL_NOTE,
        claim_groups=[_group(summary, numbers) for summary in _of_kind(outcome, "claim")],
        control_groups=[_group(summary, numbers) for summary in _of_kind(outcome, "control")],
        tables=[_table(table) for table in outcome.tables],
        stages=[
            (stage, formatting.duration(spent), 100 * spent / longest if longest > 0 else 0) for stage, spent in outcome.seconds.items()
        ],
        config=list(_flat(outcome.config)),
        versions=list(_flat(dict(outcome.versions))),
        machine=list(_flat(outcome.machine)),
    )
    return json_files.write_bytes(place / FILE, page.encode())


def table_text(outcome: Results, notice: str = "") -> str:
    """The claims as plain text: a line with verdict, statement and threshold, then a line per seed with its numbers."""
    head = outcome.name if outcome.verdict == "NONE" else f"{outcome.name}: {outcome.verdict}"
    sentence = "" if outcome.smoke else notice or _notice(outcome)
    lines = [head + (" (a smoke run: its numbers mean nothing)" if outcome.smoke else ""), *([sentence] if sentence else [])]
    lines.append(", ".join(f"{name} {text}" for name, text in _facts(outcome).items()))
    rows = {summary.id: _rows(summary) for summary in verdicts.by_id(outcome.claims).values()}
    cells = [(row["seed"] and f"seed {row['seed']}", row["value"], row["interval"]) for group in rows.values() for row in group]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    kinds: tuple[tuple[str, Kind], ...] = (("Claims", "claim"), ("Controls, each of which must miss a threshold", "control"))
    for heading, kind in kinds:
        summaries = _of_kind(outcome, kind)
        lines += ["", heading] if summaries else []
        for summary in summaries:
            first, verdict = summary.first, summary.verdict if _judged(outcome) else ""
            lines.append(f"  {verdict:<12}  {first.statement} ({summary.id}; needed {formatting.needed(first.relation, first.threshold)})")
            for row in rows[summary.id]:
                seed = row["seed"] and f"seed {row['seed']}"
                lines.append(
                    f"{'':<16}{seed:<{widths[0]}}  {row['value']:>{widths[1]}}  {row['interval']:<{widths[2]}}  n = {row['samples']}"
                )
    return "\n".join(lines) + "\n"


def data_uri(path: Path) -> str:
    """The PNG itself as an address. Raises DataError for a file that is missing or no PNG."""
    return "data:image/png;base64," + base64.b64encode(_png(path)).decode("ascii")


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.get_template("report.html")


def _judged(outcome: Results) -> bool:
    """Whether the verdicts of single claims mean anything."""
    return outcome.verdict != "NONE" and not outcome.smoke


def _notice(outcome: Results) -> str:
    return SMOKE if outcome.smoke else "" if _judged(outcome) else NOT_JUDGED


def _numbers(outcome: Results, sprites: list[Path]) -> dict[str, int]:
    """File of each picture -> its number, counted down the page."""
    files = [each.file for each in outcome.explorers] + [path.name for path in sprites] + [each.file for each in outcome.figures]
    return {file: number for number, file in enumerate(dict.fromkeys(files), 1)}


def _of_kind(outcome: Results, kind: Kind) -> list[Summary]:
    return [summary for summary in verdicts.by_id(outcome.claims).values() if summary.first.kind == kind]


def _group(summary: Summary, numbers: Mapping[str, int]) -> dict[str, Any]:
    """One claim as the template shows it: a row per seed."""
    first = summary.first
    return {
        "id": summary.id,
        "verdict": summary.verdict,
        "statement": first.statement,
        "figure": numbers.get(first.figure),
        "needed": formatting.needed(first.relation, first.threshold),
        "rows": _rows(summary),
    }


def _rows(summary: Summary) -> list[dict[str, Any]]:
    texts = formatting.measured((claim.value, *claim.interval) for claim in summary.claims)
    return [
        {
            "seed": "" if claim.seed is None else str(claim.seed),
            "value": value,
            "interval": interval,
            "samples": formatting.number(claim.n),
            "verdict": claim.verdict,
            "strip": _strip(claim, summary.claims),
        }
        for claim, (value, interval) in zip(summary.claims, texts, strict=True)
    ]


def _strip(claim: Claim, seeds: Iterable[Claim]) -> dict[str, Any] | None:
    """The interval against the threshold, on the scale from 0 to 100 that all seeds of the claim share; None for what is not finite."""
    ends = [end for each in seeds for end in (*each.interval, each.threshold, each.value) if math.isfinite(end)]
    if not all(map(math.isfinite, (*claim.interval, claim.value, claim.threshold))):
        return None
    low, high = min(ends), max(ends)
    width = (high - low) or abs(high) or 1.0
    bound, left, right = (4 + 92 * (value - low) / width for value in (claim.threshold, *claim.interval))
    bar = max(right - left, 1.2)  # an interval of no width must still be seen
    allowed = (0.0, bound) if claim.relation == "<=" else (bound, 100 - bound)
    return {"bound": bound, "allowed": allowed, "left": (left + right - bar) / 2, "width": bar}


def _table(table: Table) -> dict[str, Any]:
    columns = [[row[number] for row in table.rows] for number in range(len(table.columns))]
    return {
        "title": table.title,
        "columns": table.columns,
        "numeric": [all(map(formatting.is_number, column)) for column in columns],
        "rows": list(zip(*map(formatting.column, columns), strict=True)),
    }


def _facts(outcome: Results) -> dict[str, str]:
    summaries = verdicts.by_id(outcome.claims).values()
    commit = "none" if outcome.commit is None else outcome.commit[:12]
    passed = {"passed": f"{sum(summary.verdict == 'PASS' for summary in summaries)} of {len(summaries)}"} if _judged(outcome) else {}
    return passed | {
        "seeds": ", ".join(map(str, outcome.seeds)) or "none",
        "time": formatting.duration(sum(outcome.seconds.values())),
        "commit": f"{commit} with changes" if outcome.dirty else commit,
    }


def _png(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not content.startswith(PNG_SIGNATURE):
        raise DataError(f"{path}: is no PNG")
    return content


def _flat(entries: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Names and values, those of nested dicts under dotted names."""
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
