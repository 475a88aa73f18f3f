"""The report of a run: one self-contained HTML file for people, one plain table for the terminal."""

import os
import string
from pathlib import Path

from experiments.reporting import formatting, json_files, report_sprites, results, verdicts
from experiments.reporting import report_sections as sections
from experiments.reporting.results import Results
from experiments.reporting.verdicts import Kind, Summary

FILE = "report.html"
TEMPLATE = Path(__file__).with_name("report_template.html")
SPRITES = "denoising*.png"
CLAIM_NOTE = (
    "A claim passes if the unfavourable end of its 95 % interval clears the threshold in every seed, fails if the favourable end misses "
    "it in any, and is inconclusive otherwise. The shaded side of each strip is the allowed one."
)
CONTROL_NOTE = (
    "Each control must miss a named threshold, or the measurement could not tell good from bad. PASS means that it misses as it must."
)
SMOKE_NOTE = '<p class="note">A smoke run: it shows that everything runs. Its numbers mean nothing.</p>'


def write(folder: str | os.PathLike[str]) -> Path:
    """Makes report.html of a run folder from its results.json, the pictures named there and every other denoising*.png; returns its path.

    The file needs no other file and no network. Raises DataError, naming the file, where results or a figure are missing or broken.
    """
    place = Path(folder)
    outcome = results.read(place)
    listed = {each.file for each in outcome.explorers} | {each.file for each in outcome.figures}
    sprites = [path for path in sorted(place.glob(SPRITES)) if path.name not in listed]
    numbers = _numbers(outcome, sprites)
    parts = [
        sections.claims("Claims", CLAIM_NOTE, _of_kind(outcome, "claim"), numbers),
        sections.claims("Controls", CONTROL_NOTE, _of_kind(outcome, "control"), numbers),
        report_sprites.explorers(place, outcome.explorers, numbers),
        report_sprites.scrubbers(sprites, numbers),
        sections.figures(place, outcome.figures, numbers),
        sections.tables(outcome.tables),
        sections.seconds(outcome.seconds),
        sections.pairs("Configuration", outcome.config),
        f'<div class="columns">{sections.pairs("Versions", dict(outcome.versions))}{sections.pairs("Machine", outcome.machine)}</div>',
    ]
    page = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=sections.escape(f"{outcome.name}: {outcome.verdict}"),
        name=sections.escape(outcome.name),
        badge=sections.badge(outcome.verdict),
        question=sections.escape(outcome.question),
        notice=SMOKE_NOTE if outcome.smoke else "",
        facts="".join(f"<div><dt>{name}</dt><dd>{sections.escape(text)}</dd></div>" for name, text in _facts(outcome).items()),
        sections="\n".join(part for part in parts if part),
    )
    return json_files.write_bytes(place / FILE, page.encode())


def table_text(outcome: Results) -> str:
    """The claims as plain text: a line with verdict, statement and threshold, then a line a seed with value, 95 % interval and samples."""
    lines = [f"{outcome.name}: {outcome.verdict}" + (" (a smoke run: its numbers mean nothing)" if outcome.smoke else "")]
    lines.append(", ".join(f"{name} {text}" for name, text in _facts(outcome).items()))
    rows = {summary.id: _rows(summary) for summary in verdicts.by_id(outcome.claims).values()}
    widths = [max(map(len, column)) for column in zip(*(row for group in rows.values() for row in group), strict=True)]
    for heading, kind in (("Claims", "claim"), ("Controls, each of which must miss a threshold", "control")):
        summaries = _of_kind(outcome, kind)  # type: ignore[arg-type]
        lines += ["", heading] if summaries else []
        for summary in summaries:
            first = summary.first
            lines.append(
                f"  {summary.verdict:<12}  {first.statement} ({summary.id}; needed {formatting.needed(first.relation, first.threshold)})"
            )
            for seed, value, interval, samples in rows[summary.id]:
                lines.append(f"{'':<16}{seed:<{widths[0]}}  {value:>{widths[1]}}  {interval:<{widths[2]}}  {samples}".rstrip())
    return "\n".join(lines) + "\n"


def _numbers(outcome: Results, sprites: list[Path]) -> dict[str, int]:
    """File of each picture -> its number, counted down the page."""
    files = [each.file for each in outcome.explorers] + [path.name for path in sprites] + [each.file for each in outcome.figures]
    return {file: number for number, file in enumerate(dict.fromkeys(files), 1)}


def _of_kind(outcome: Results, kind: Kind) -> list[Summary]:
    return [summary for summary in verdicts.by_id(outcome.claims).values() if summary.first.kind == kind]


def _rows(summary: Summary) -> list[tuple[str, str, str, str]]:
    decimals = formatting.places(number for claim in summary.claims for number in (claim.value, *claim.interval))
    return [
        (
            "" if claim.seed is None else f"seed {claim.seed}",
            formatting.number(claim.value, decimals),
            formatting.interval(*claim.interval, decimals),
            f"n = {formatting.number(claim.n)}",
        )
        for claim in summary.claims
    ]


def _facts(outcome: Results) -> dict[str, str]:
    summaries = verdicts.by_id(outcome.claims).values()
    commit = "none" if outcome.commit is None else outcome.commit[:12]
    return {
        "passed": f"{sum(summary.verdict == 'PASS' for summary in summaries)} of {len(summaries)}",
        "seeds": ", ".join(map(str, outcome.seeds)) or "none",
        "time": formatting.duration(sum(outcome.seconds.values())),
        "commit": f"{commit} with changes" if outcome.dirty else commit,
    }
