"""What a report says of the rows of text that `tune` learned from: counted from the file, which declares nothing."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from gendiff.commands.data_report.contents import LISTED, share
from gendiff.commands.tune.config import Config
from gendiff.commands.tune.rows import Row, Rows

Lengths = tuple[int, int, int]
Lines = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class TextContents:
    """data_report.json of a run of `tune`.

    fingerprint: SHA-256 of the file. prompts, answers: least, median and largest number of characters. equal: pairs of
    lines in the file, a training row and an earlier one that it equals. leaks: a held-out row and a training row that
    it equals. prompts_leaked_n: held-out rows whose prompt is that of a training row.
    """

    data: str
    run: str
    method: str
    base: str
    fingerprint: str
    training_n: int
    held_out_n: int
    prompts: Lengths
    answers: Lengths
    equal_n: int
    equal: Lines
    leaks_n: int
    leaks: Lines
    prompts_leaked_n: int


def summarize(config: Config, rows: Rows, run: str) -> TextContents:
    """Counts and compares."""
    first: dict[object, Row] = {}
    equal = []
    for row in rows.training:
        twin = first.setdefault(_content(row), row)
        if twin is not row:
            equal.append((row.line, twin.line))
    leaks = [(row.line, first[_content(row)].line) for row in rows.held_out if _content(row) in first]
    prompts = {_prompt(row) for row in rows.training}
    return TextContents(
        data="the sums that come along" if config.data is None else config.data,
        run=run,
        method=config.method,
        base=config.model,
        fingerprint=rows.fingerprint,
        training_n=len(rows.training),
        held_out_n=len(rows.held_out),
        prompts=_lengths(sum(len(text) for _, text in _prompt(row)) for row in rows.table),
        answers=_lengths(len(answer) for row in rows.table for answer in row.answers),
        equal_n=len(equal),
        equal=tuple(equal[:LISTED]),
        leaks_n=len(leaks),
        leaks=tuple(leaks[:LISTED]),
        prompts_leaked_n=sum(_prompt(row) in prompts for row in rows.held_out),
    )


def sentences(result: TextContents) -> dict[str, str]:
    """The findings in plain words, by the part of the page that they belong to."""
    prompts, answers = (
        "{} to {}, median {}".format(*(each[at] for at in (0, 2, 1))) for each in (result.prompts, result.answers)
    )
    return {
        "size": f"{result.training_n} training rows, and {result.held_out_n} held-out ones. Characters of a prompt: "
        f"{prompts}; of an answer: {answers}.",
        "repeats": f"{share(result.equal_n, result.training_n)} training rows equal an earlier one.",
        "leaks": f"{share(result.leaks_n, result.held_out_n)} held-out rows equal a training row, and "
        f"{share(result.prompts_leaked_n, result.held_out_n)} have the prompt of one.",
    }


def _prompt(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"]) for message in row.messages)


def _content(row: Row) -> object:
    return _prompt(row), row.answers, row.reward


def _lengths(lengths: Iterable[int]) -> Lengths:
    counts = list(lengths)
    return min(counts), int(np.median(counts)), max(counts)
