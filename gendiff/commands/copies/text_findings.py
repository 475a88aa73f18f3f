"""`copies --text`: what of each text stands in a training text word for word, shown beside each other."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gendiff.commands.copies import findings
from gendiff.commands.copies.copies_options import JSON, PAGE, CopiesOptions
from gendiff.commands.copies.findings import Share
from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.data import text as texts
from gendiff.data.texts.text import Documents
from gendiff.provenance import text_copies
from gendiff.provenance.text_copies import TextCopies
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import html_pages, json_files

AROUND, LONGEST = 120, 2000
"""Characters that are shown on each side of a span, and of the span itself, at most."""


@dataclasses.dataclass(frozen=True)
class Span:
    """The longest span of a text that a training text holds. held_by: how many hold it; None where it is too short to
    be a copy.
    """

    sample: str
    training: str
    length: int
    held_by: int | None
    text: str


@dataclasses.dataclass(frozen=True)
class TextFindings:
    """copies.json of texts. span: from how many words or characters (`unit`) on a text counts as a copy. spans: the
    longest first.

    lengths: the median text and the median held-out text, in the same unit.
    """

    samples: str
    train: str
    held_out: str | None
    training_n: int
    held_out_n: int | None
    unit: str
    span: int
    lengths: tuple[int, int | None]
    whole: Share
    spans: tuple[Span, ...]


class Words:
    """Texts of one set, and their words or characters as numbers. known: the number of each word so far, which
    grows.
    """

    def __init__(self, documents: Documents, unit: str, known: dict[str, int]) -> None:
        self.documents, self._places = documents, []
        self.ids: list[np.ndarray] = []
        for text in documents.texts:
            pieces = [
                (match.start(), match.end()) for match in re.finditer(r"\S+" if unit == "words" else r"(?s).", text)
            ]
            self._places.append(pieces)
            self.ids.append(
                np.array([known.setdefault(text[begin:end], len(known)) for begin, end in pieces], np.int64)
            )

    def parts(self, row: int, start: int, length: int) -> tuple[str, str, str]:
        """What stands before a span of a text, the span, and what stands behind it."""
        text, pieces = self.documents.texts[row], self._places[row]
        begin, end = pieces[start][0], pieces[start + length - 1][1]
        before, span, behind = text[max(0, begin - AROUND) : begin], text[begin:end], text[end : end + AROUND]
        return (
            "…" * (begin > AROUND) + before,
            span[:LONGEST] + "…" * (len(span) > LONGEST),
            behind + "…" * (end + AROUND < len(text)),
        )

    @property
    def median(self) -> int:
        """Of the lengths."""
        return int(np.median([len(ids) for ids in self.ids]))


def report(options: CopiesOptions, out: Path, progress: Progress) -> None:
    """Compares, and leaves copies.html and copies.json. Raises DataError for texts that cannot be read, and too few."""
    known: dict[str, int] = {}
    samples, train = (_read(location, options, known) for location in (options.samples, options.train))
    held_out = None if options.held_out is None else _read(options.held_out, options, known)
    if len(known) > text_copies.LARGEST_ID + 1:
        raise DataError(
            f"{options.train}: more than {text_copies.LARGEST_ID + 1} different words with the other texts: compare "
            "fewer texts at a time, or add --unit characters"
        )
    with progress.phase("compare"):
        copies = text_copies.text_copies(
            samples.ids, train.ids, None if held_out is None else held_out.ids, tokens=options.span
        )
    order = np.argsort(-copies.spans.length, kind="stable")[: options.pairs]
    rows = [int(row) for row in order if copies.spans.length[row]]
    content = _findings(options, copies, samples, train, held_out, rows)
    out.mkdir(parents=True, exist_ok=True)
    json_files.write(out / JSON, content)
    beside = [
        (samples.parts(row, *_at(copies, row)), train.parts(int(copies.spans.document[row]), *_in(copies, row)))
        for row in rows
    ]
    sentences = list(_sentences(content))
    html_pages.write(
        out / PAGE,
        Path(__file__).with_name("text_copies.html"),
        found=content,
        sentences=sentences,
        pairs=list(zip(content.spans, beside, strict=True)),
    )
    for sentence in sentences:
        print(sentence)
    for each in content.spans[:5]:
        if each.held_by is not None:
            print(f"  {each.sample}  copies {each.length} {options.unit} of  {each.training}  (held by {each.held_by})")
    print(f"page: {out / PAGE}", flush=True)


def _read(location: str, options: CopiesOptions, known: dict[str, int]) -> Words:
    return Words(texts.read(foreign_files.expanded(location)), options.unit, known)


def _at(copies: TextCopies, row: int) -> tuple[int, int]:
    return int(copies.spans.start[row]), int(copies.spans.length[row])


def _in(copies: TextCopies, row: int) -> tuple[int, int]:
    return int(copies.spans.place[row]), int(copies.spans.length[row])


def _findings(
    options: CopiesOptions, copies: TextCopies, samples: Words, train: Words, held_out: Words | None, rows: list[int]
) -> TextFindings:
    def span(row: int) -> Span:
        length = int(copies.spans.length[row])
        return Span(
            sample=samples.documents.names[row],
            training=train.documents.names[int(copies.spans.document[row])],
            length=length,
            held_by=int(copies.held_by[row]) if length >= options.span else None,
            text=samples.parts(row, *_at(copies, row))[1],
        )

    return TextFindings(
        samples=options.samples,
        train=options.train,
        held_out=options.held_out,
        training_n=len(train.ids),
        held_out_n=None if held_out is None else len(held_out.ids),
        unit=options.unit,
        span=options.span,
        lengths=(samples.median, None if held_out is None else held_out.median),
        whole=Share(
            "all", len(samples.ids), copies.rate.number, *map(findings.number, (copies.held_out_rate, copies.excess))
        ),
        spans=tuple(map(span, rows)),
    )


def _sentences(result: TextFindings) -> Iterator[str]:
    full = result.whole
    yield (
        f"{round(full.rate[0] * full.n)} of {full.n} texts ({findings.percent(full.rate)}) hold at least "
        f"{result.span} {result.unit} in a row that also stand in a training text."
    )
    if full.held_out_rate is None or full.excess is None:
        yield (
            "There are no held-out texts, so it is not known how many fresh texts share so much by chance, such as a "
            "quotation. Nothing is said of whether the texts copy more than that: look at the spans."
        )
        return
    n = result.held_out_n or 0
    yield (
        f"{round(full.held_out_rate[0] * n)} of {n} held-out texts ({findings.percent(full.held_out_rate)}) do. The "
        f"difference is {findings.points(full.excess)}."
    )
    yield findings.reading(full.excess, "texts share such spans")
    median, beside = result.lengths
    if beside is not None and not 0.5 <= median / max(beside, 1) <= 2:
        yield (
            f"The median text has {median} {result.unit} and the median held-out text {beside}: longer texts have more "
            "chances of a long span, so compare texts of one length."
        )
