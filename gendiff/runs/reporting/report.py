"""The report of a run: one self-contained HTML file for people, one plain table for the terminal.

A picture with sliders lies in an SVG whose viewBox is the chosen part of its sheet, so that one is seen even where no
script runs.
"""

import base64
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.runs.reporting import formatting, html_pages, results, verdicts, words
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.results import Explorer, Results, Table
from gendiff.runs.reporting.verdicts import Claim, Summary

FILE = "report.html"
DATA, DATA_REPORT = ("data.json", "fine_tuning.json", "tuning.json"), "data_report.html"
"""What a run knows of its data, by kinds of runs, and what `data-report` says of them."""
SPRITES = "denoising*.png"
SOUNDS = "_*.wav"
"""Ends of the names of sounds that stand below the picture whose name they begin with."""
COLUMNS = ("seed", "value", "interval", "samples")
"""Of the plain table, by the names of `_rows`."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WIDE = 1200
"""Pixels across from which a picture needs more room than a column gives it: small multiples in several columns, not
one plot.
"""
LONGEST_SCALE = 44
"""Letters for which all values of a slider fit below it on a phone; of a longer scale only the ends are written."""
SMOKE = "A smoke run: it shows that everything runs. Its numbers mean nothing."
RULE = (
    "The verdict is that of the mean over the seeds: PASS, or holds, if the unfavourable end of its interval, of 95 % "
    "where the claim names no other level, clears the threshold; FAIL, or does not hold here, if the favourable end "
    "misses it; INCONCLUSIVE, or open, otherwise. The shaded side of a strip is allowed."
)
NOT_JUDGED = "Figures without a verdict: verdicts belong to the presets."


def write(folder: str | os.PathLike[str], outcome: Results | None = None, notice: str = "") -> Path:
    """Makes report.html of a run folder from its results.json, the pictures named there with the sounds beside them,
    and every other denoising*.png; returns its path.

    outcome: replaces results.json. notice: a sentence below the question. The file needs no other file and no
        network.
    Raises DataError, naming the file, where results or a figure are missing or broken.
    """
    folder = Path(folder)
    outcome = results.read(folder) if outcome is None else outcome
    listed = [each.file for each in outcome.explorers], [each.file for each in outcome.figures]
    sprites = [path.name for path in sorted(folder.glob(SPRITES)) if path.name not in listed[0] + listed[1]]
    # counted down the page
    numbers = {file: number for number, file in enumerate(dict.fromkeys(listed[0] + sprites + listed[1]), 1)}
    return html_pages.write(
        folder / FILE,
        html_pages.TEMPLATES / FILE,
        outcome=outcome,
        notice=notice or caution(outcome),
        facts=_facts(outcome),
        numbers=numbers,
        explorers=[_explorer(folder / each.file, each, numbers[each.file]) for each in outcome.explorers],
        scrubbers=[_scrubber(folder / file, numbers[file]) for file in sprites],
        figures=[_figure(folder / each.file, each.caption, numbers[each.file]) for each in outcome.figures],
        tables=list(map(_table, outcome.tables)),
        pairs_of=_flat,
        config=_config(outcome),
        rows_of=_rows,
        sections=[
            (results.SECTIONS[role], results.NOTES.get(role, ""), each) for role, each in outcome.sections().items()
        ],
        tone=verdicts.tone,
        RULE=RULE,
        words=words.used_in(outcome),
        data_reports=_data_reports(folder),
    )


def table_text(outcome: Results, notice: str = "") -> str:
    """The answer and the claims as plain text, then main tables.

    Of a claim there is a line with verdict, statement and threshold, then a line per seed with its numbers.
    """
    head = outcome.name if outcome.verdict == "NONE" else f"{outcome.name}: {outcome.verdict}"
    sentence = notice or caution(outcome)
    lines = [f"{head} (a smoke run: its numbers mean nothing)" if outcome.smoke else head]
    lines += [sentence] if sentence and sentence != SMOKE else []
    lines += [outcome.answer] if outcome.answer else []
    lines.append(", ".join(f"{name} {text}" for name, text in _facts(outcome).items()))
    cells = {
        summary.id: [
            (f"seed {seed}" if seed.isdigit() else seed, *texts)
            for seed, *texts in ([str(row[name]) for name in COLUMNS] for row in _rows(summary))
        ]
        for summary in outcome.summaries("claim", "control")
    }
    widths = [max(map(len, column)) for column in zip(*itertools.chain(*cells.values()), strict=True)]
    for role, summaries in outcome.sections().items():
        lines += ["", results.SECTIONS[role]]
        for summary in summaries:
            first, verdict = summary.first, summary.word if outcome.judged else ""
            lines.append(
                f"  {verdict:<12}  {first.statement} ({summary.id}; needed "
                f"{formatting.needed(first.relation, first.threshold)})"
            )
            for seed, value, interval, samples in cells[summary.id]:
                lines.append(
                    f"{'':<16}{seed:<{widths[0]}}  {value:>{widths[1]}}  {interval:<{widths[2]}}  n = {samples}"
                )
    for table in outcome.tables:
        lines += ["", *table_lines(table)] if table.main else []
    explained = words.among(lines)
    lines += ["", *(f"{word}: {meaning}" for word, meaning in explained.items())] if explained else []
    return "\n".join(lines) + "\n"


def table_lines(table: Table) -> Iterator[str]:
    """Title, columns side by side, and the note."""
    columns = [
        [name, *(" ".join(filter(None, cell)) for cell in formatting.column(cells))]
        for name, cells in zip(table.columns, _cells(table), strict=True)
    ]
    widths = [max(map(len, column)) for column in columns]
    yield table.title
    for row in zip(*columns, strict=True):
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    if table.note:
        yield f"  note: {table.note}"


def _data_reports(folder: Path) -> list[tuple[str, bool]]:
    """(path within the run, whether it is there) of the data report of each set of data that was trained on."""
    paths = [
        file.with_name(DATA_REPORT)
        for name in DATA
        for pattern in (name, f"*/{name}")
        for file in sorted(folder.glob(pattern))
    ]
    return [(path.relative_to(folder).as_posix(), path.is_file()) for path in paths]


def caution(outcome: Results) -> str:
    """What must be said of a smoke run, and of one that was not judged."""
    return SMOKE if outcome.smoke else "" if outcome.judged else NOT_JUDGED


def _figure(path: Path, caption: str, number: int) -> dict[str, object]:
    """A picture by itself. Raises DataError for a file that is missing or no PNG."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not content.startswith(PNG_SIGNATURE):
        raise DataError(f"{path}: is no PNG")
    wide = int.from_bytes(content[16:20], "big") >= WIDE  # the header's first field
    return {
        "number": number,
        "caption": caption,
        "data": _embedded("image/png", content),
        "wide": wide,
        "sounds": [
            (file.stem, _embedded("audio/wav", file.read_bytes()))
            for file in sorted(path.parent.glob(path.stem + SOUNDS))
        ],
    }


def _embedded(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _explorer(path: Path, explorer: Explorer, number: int) -> dict[str, object]:
    """A picture with a slider per axis. Raises DataError for a sprite without its layout, or of another size than the
    axes.
    """
    layout, _ = _sprite_layout(path)
    sizes = [len(axis.values) for axis in explorer.axes]
    if layout["count"] != math.prod(sizes):
        raise DataError(
            f"{path}: holds {layout['count']} pictures for axes of {' × '.join(map(str, sizes))} values; one each is "
            "needed"
        )
    axes, first = [], 0
    for position, (axis, start) in enumerate(zip(explorer.axes, explorer.start, strict=True)):
        texts = [value if isinstance(value, str) else formatting.setting(value) for value in axis.values]
        stride = math.prod(sizes[position + 1 :])
        first += start * stride
        axes.append(
            {
                "id": f"figure-{number}-axis-{position}",
                "label": axis.label,
                "texts": texts,
                "text": texts[start],
                "start": start,
                "stride": stride,
                "all_fit": len(texts) * 2 + sum(map(len, texts)) <= LONGEST_SCALE,
            }
        )
    return _part(layout, first) | _figure(path, explorer.caption, number) | {"axes": axes}


def _scrubber(path: Path, number: int) -> dict[str, object]:
    """A slider over the frames of a sprite that figures.denoising_sprite made. Raises DataError for a PNG without its
    layout.
    """
    layout, labels = _sprite_layout(path)
    last, caption = layout["count"] - 1, "From noise (left) to samples (right). The arrow keys move one step."
    return _part(layout, last) | _figure(path, caption, number) | {"last": last, "labels": json.dumps(labels)}


def _part(layout: dict[str, int], value: int) -> dict[str, int]:
    """The layout, with where in the sheet the part with the number `value` lies."""
    row, column = divmod(value, layout["columns"])
    rows = math.ceil(layout["count"] / layout["columns"])
    return layout | {"left": column * layout["width"], "top": row * layout["height"], "rows": rows}


def _sprite_layout(path: Path) -> tuple[dict[str, int], list[str]]:
    """(where the frames of a sheet lie, their labels)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()  # text entries may stand after the pixels
            layout = foreign_files.decoded(image.text["frames"])  # type: ignore[attr-defined]
            labels = [str(label) for label in layout["labels"]]
            return {name: int(layout[name]) for name in ("count", "width", "height", "columns")}, labels
    except (OSError, UnidentifiedImageError, KeyError, AttributeError, TypeError, ValueError) as error:
        cure = "make it with figures.denoising_sprite or figures.explorer"
        raise DataError(f"{path}: is no sprite of frames with its layout; {cure} ({error})") from error


def _rows(summary: Summary) -> list[dict[str, object]]:
    """A row per seed; before them the mean, where there are several."""
    means = [summary.mean] if len(summary.claims) > 1 else []
    claims = [*means, *summary.claims]
    texts = formatting.measured((claim.value, *claim.interval) for claim in claims)
    return [
        {
            "seed": f"mean of {len(summary.claims)}"
            if number < len(means)
            else ""
            if claim.seed is None
            else str(claim.seed),
            "value": value,
            "interval": interval,
            "samples": formatting.number(claim.n if number >= len(means) else sum(each.n for each in summary.claims)),
            "verdict": claim.verdict,
            "strip": _strip(claim, claims),
        }
        for number, (claim, (value, interval)) in enumerate(zip(claims, texts, strict=True))
    ]


def _strip(claim: Claim, seeds: Iterable[Claim]) -> dict[str, object] | None:
    """The interval against the threshold, on the scale from 0 to 100 that all seeds of the claim share; None for what
    is not finite.
    """
    ends = [end for each in seeds for end in (*each.interval, each.threshold, each.value) if math.isfinite(end)]
    if not all(map(math.isfinite, (*claim.interval, claim.value, claim.threshold))):
        return None
    low, high = min(ends), max(ends)
    width = (high - low) or abs(high) or 1.0
    bound, left, right = (4 + 92 * (value - low) / width for value in (claim.threshold, *claim.interval))
    bar = max(right - left, 1.2)  # an interval of no width must still be seen
    allowed = (0.0, bound) if claim.relation == "<=" else (bound, 100 - bound)
    return {"bound": bound, "allowed": allowed, "left": (left + right - bar) / 2, "width": bar}


def _table(table: Table) -> dict[str, object]:
    columns = _cells(table)
    return {
        "title": table.title,
        "note": table.note,
        "columns": table.columns,
        "numeric": [all(map(formatting.is_number, column)) for column in columns],
        "rows": list(zip(*map(formatting.column, columns), strict=True)),
    }


def _cells(table: Table) -> list[list[CellValue]]:
    """Column by column."""
    return [[row[number] for row in table.rows] for number in range(len(table.columns))]


def _facts(outcome: Results) -> dict[str, str]:
    commit = "none" if outcome.commit is None else outcome.commit[:12]
    return (outcome.counts() if outcome.judged else {}) | {
        "seeds": ", ".join(map(str, outcome.seeds)) or "none",
        "time": formatting.duration(sum(outcome.seconds.values())),
        "commit": f"{commit} with changes" if outcome.dirty else commit,
    }


def _config(outcome: Results) -> list[tuple[str, str]]:
    """The configuration, with what was taken where it says None."""
    chosen = outcome.chosen
    return [
        (name, f"{chosen[name]} (by default)" if text == "none" and name in chosen else text)
        for name, text in _flat(outcome.config)
    ]


def _flat(entries: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values, those of nested dicts under dotted names."""
    pairs = []
    for name, value in entries.items():
        pairs += (
            _flat(value, f"{prefix}{name}.") if value and isinstance(value, dict) else [(prefix + name, _shown(value))]
        )
    return pairs


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == {} else str(value)
