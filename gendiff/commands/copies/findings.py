"""What `copies` found of pictures, as copies.json holds it, and the sentences that say it."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from gendiff.commands.copies.copies_options import CopiesOptions
from gendiff.commands.copies.picture_sets import PictureSet
from gendiff.metrics.bootstrap import Interval
from gendiff.provenance import memorisation
from gendiff.provenance.memorisation import MemorisationReport, Rates
from gendiff.runs.reporting.verdicts import Number

LISTED = 100
"""Duplicates of the training set that are listed, at most."""
NO_HELD_OUT = (
    "There are no held-out pictures, so it is not known how many fresh pictures look like near-copies by chance. "
    "Nothing is said of whether the samples copy more than that: look at the pairs. A part of the training pictures "
    "cannot take their place, since the model has seen it."
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A sample with its two nearest training pictures. ratio: of the two distances. copy: whether it is below the
    threshold.
    """

    sample: str
    training: str
    second: str
    ratio: float
    distance: float
    copy: bool


@dataclasses.dataclass(frozen=True)
class Share:
    """Near-copies among `n` samples, and above those among held-out pictures. None: there are none of those."""

    name: str
    n: int
    rate: Number
    held_out_rate: Number | None
    excess: Number | None


@dataclasses.dataclass(frozen=True)
class Findings:
    """copies.json. All shares lie in [0, 1], with 95 % intervals.

    different: training pictures without their duplicates. equal: held-out pictures that were left out because they
        equal a training one.
    pairs: the most striking first. duplicates, near_duplicates: training pictures that equal, or nearly equal, another,
    as many as are listed; the numbers count all of them.
    """

    samples: str
    train: str
    held_out: str | None
    training_n: int
    different: int
    held_out_n: int | None
    equal: int
    features: str
    threshold: float
    whole: Share
    classes: tuple[Share, ...]
    pairs: tuple[Pair, ...]
    duplicates_n: int
    duplicates: tuple[tuple[str, str], ...]
    near_duplicates_n: int
    near_duplicates: tuple[tuple[str, str], ...]


def compare(
    samples: PictureSet, train: PictureSet, held_out: PictureSet | None, options: CopiesOptions
) -> MemorisationReport:
    """The report of the library. ValueError for fewer than 3 different training pictures."""
    names = _class_names(samples)
    numbers, beside = (None if each is None or not names else _numbers(each, names) for each in (samples, held_out))
    return memorisation.memorisation_report(
        samples.rows,
        train.rows,
        None if held_out is None else held_out.rows,
        threshold=options.threshold,
        copies=options.pairs,
        labels=numbers,
        held_out_labels=beside,
    )


def findings(
    report: MemorisationReport,
    samples: PictureSet,
    train: PictureSet,
    held_out: PictureSet | None,
    equal: int,
    options: CopiesOptions,
) -> Findings:
    """The report with the names of pictures in the place of their numbers."""
    names = [*_class_names(samples), "without a class"]
    pairs = [
        Pair(
            sample=samples.name(row),
            training=train.name(report.nearest[row, 0]),
            second=train.name(report.nearest[row, 1]),
            ratio=float(report.ratios[row]),
            distance=float(report.distances[row, 0]),
            copy=bool(report.ratios[row] < report.threshold),
        )
        for row, _ in report.pairs
    ]
    repeats, nearly = (
        [(train.name(a), train.name(b)) for a, b in each[:LISTED]]
        for each in (report.duplicates, report.near_duplicates)
    )
    return Findings(
        samples=samples.place,
        train=train.place,
        held_out=None if held_out is None else held_out.place,
        training_n=len(train.rows),
        different=len(train.rows) - len(report.duplicates),
        held_out_n=None if held_out is None else len(held_out.rows),
        equal=equal,
        features=options.features,
        threshold=options.threshold,
        whole=_share("all", report),
        classes=tuple(_share(names[label], rates) for label, rates in report.classes.items()),
        pairs=tuple(pairs),
        duplicates_n=len(report.duplicates),
        duplicates=tuple(repeats),
        near_duplicates_n=len(report.near_duplicates),
        near_duplicates=tuple(nearly),
    )


def sentences(result: Findings) -> Iterator[str]:
    """The rates in plain words."""
    full = result.whole
    yield (
        f"{round(full.rate[0] * full.n)} of {full.n} samples ({percent(full.rate)}) are near-copies: their nearest "
        f"training picture is less than {result.threshold:g} times as far away as the second-nearest."
    )
    if full.held_out_rate is None or full.excess is None:
        yield NO_HELD_OUT
        return
    n = result.held_out_n or 0
    yield (
        f"{round(full.held_out_rate[0] * n)} of {n} held-out pictures ({percent(full.held_out_rate)}) look like "
        f"near-copies, though they cannot be copies. The difference is {points(full.excess)}."
    )
    yield reading(full.excess, "samples are near-copies")


def reading(excess: Number, what: str) -> str:
    """Where the interval of a difference lies, as in "samples are near-copies" more often than fresh ones; a figure and
    no verdict.
    """
    _, low, high = excess
    if low > 0:
        return f"The interval lies above 0: {what} more often than fresh ones."
    if high < 0:
        return f"The interval lies below 0: {what} less often than fresh ones."
    return f"The interval holds 0: it is not shown that {what} more often than fresh ones."


def number(interval: Interval | None) -> Number | None:
    """(value, low, high), where there is one."""
    return None if interval is None else interval.number


def percent(share: Number) -> str:
    """As in "4.7 %, 95 % interval 2.7 … 8.1"."""
    value, low, high = (100 * each for each in share)
    return f"{value:.1f} %, 95 % interval {low:.1f} … {high:.1f}"


def points(share: Number) -> str:
    """The same of a difference of shares."""
    value, low, high = (100 * each for each in share)
    return f"{value:.1f} percentage points, 95 % interval {low:.1f} … {high:.1f}".replace("-", "−")


def _class_names(samples: PictureSet) -> list[str]:
    return sorted({name for name in samples.classes() if name is not None})


def _numbers(pictures: PictureSet, names: list[str]) -> np.ndarray:
    """Places of the pictures' classes among the names; the one behind the last for any other, and for none."""
    places = {name: number for number, name in enumerate(names)}
    return np.array(
        [len(names) if name is None else places.get(name, len(names)) for name in pictures.classes()], np.int64
    )


def _share(name: str, rates: Rates) -> Share:
    return Share(name, rates.n, rates.rate.number, number(rates.held_out_rate), number(rates.excess))
