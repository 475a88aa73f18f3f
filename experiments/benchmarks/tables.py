"""The findings as lines on a terminal, as tables of the report, and as its plot."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.benchmarks import findings
from experiments.benchmarks.config import Thresholds
from experiments.benchmarks.duel import OURS, Duel
from experiments.benchmarks.findings import Findings
from experiments.reporting import figures as drawing
from experiments.reporting.results import Cell, Figure, Table
from gendiff.metrics.bootstrap import Interval


def lines(outcome: Findings, limits: Thresholds) -> Iterable[str]:
    """What one case found, for the terminal."""
    for each in outcome.duels:
        text = f"  ours {statistics.median(each.seconds[OURS]):.4g} s"
        if each.mode is not None and each.ratio is not None:
            text += f", torch {each.mode} {statistics.median(each.seconds[each.mode]):.4g} s: {_interval(each.ratio)} times"
            text += f"; outputs differ by {each.difference:.1e}"
        if each.gain is not None:
            text += f"; outputs differ by {each.apart:.1e} from the other checkout"
        if each.share is not None:
            text += f"; {_interval(each.share)} of the matrix product's rate"
        yield f"{text}  ({each.name})"
    for ratio in findings.ratios(outcome, limits):
        yield f"  {ratio.statement}: {_interval(ratio.value)}"
    for table in outcome.tables:
        yield from (f"  {'  '.join(map(_cell, row))}" for row in table.rows)
    for name, why in outcome.failed.items():
        yield f"  {name} failed: {why}"


def tables(outcomes: Sequence[Findings], limits: Thresholds) -> tuple[Table, ...]:
    """Every number behind the claims."""
    duels = [(each, of.threshold) for of in outcomes for each in of.duels]
    every = [
        Table(
            "Times of the work done once, in seconds, and how many times faster ours is",
            ("case", "ours", "torch", "torch's best mode", "ratio", "target", "outputs differ by", "idle side, cores"),
            tuple(_times(each, threshold) for each, threshold in duels),
        ),
        Table(
            "Modes of torch: seconds before the pairs; first time, with compilation",
            ("case", "mode", "seconds", "first time", "why not"),
            tuple(row for each, _ in duels for row in _modes(each)),
        ),
        Table(
            "Rates: FLOPs by XLA's count before optimisation, or by formula",
            ("case", "GFLOP", "GFLOP/s", "share of the matrix product's rate"),
            tuple(_rate(each) for each, _ in duels),
        ),
        Table(
            "Peak resident memory in MiB of a process that does this alone",
            ("case", "ours", "torch eager"),
            tuple((each.name, *(each.peak_mib.get(side) for side in ("ours", "peer"))) for each, _ in duels),
        ),
        Table(
            "Other ratios",
            ("ratio", "value", "pairs"),
            tuple((ratio.statement, ratio.value.number, ratio.n) for of in outcomes for ratio in findings.ratios(of, limits)),
        ),
    ]
    return (*(table for table in every if table.rows), *(table for of in outcomes for table in of.tables))


def figures(outcomes: Sequence[Findings], limits: Thresholds, folder: Path) -> tuple[Figure, ...]:
    """One bar per ratio, with its interval; none where nothing was compared."""
    ratios = {each.name: each.ratio for of in outcomes for each in of.duels if each.ratio is not None}
    ratios |= {ratio.name: ratio.value for of in outcomes for ratio in findings.ratios(of, limits)}
    if not ratios:
        return ()
    drawing.bars(
        list(ratios),
        [each.value for each in ratios.values()],
        folder / "ratios.png",
        x_label="times faster",
        intervals=[(each.low, each.high) for each in ratios.values()],
        log=True,
        thresholds=[("equal", 1.0)],
    )
    return (Figure("ratios.png", "Torch's time, in its best mode, over ours: medians over interleaved pairs with 95 % intervals."),)


def _times(each: Duel, threshold: str) -> tuple[Cell, ...]:
    mode, ratio = each.mode, each.ratio
    ours = _range(each.seconds[OURS])
    if mode is None or ratio is None:
        return (each.name, ours, None, None, None, threshold, None, None)
    return (each.name, ours, _range(each.seconds[mode]), mode, ratio.number, threshold, f"{each.difference:.1e}", round(each.busy, 2))


def _modes(each: Duel) -> Iterable[tuple[Cell, ...]]:
    yield each.name, OURS, statistics.median(each.seconds[OURS]), each.first[OURS], None
    for mode, seconds in each.tried.items():
        yield each.name, mode, seconds, each.first[mode], None
    for mode, why in each.failed.items():
        yield each.name, mode, None, None, why


def _rate(each: Duel) -> tuple[Cell, ...]:
    rate = each.flops / statistics.median(each.seconds[OURS]) / 1e9
    return each.name, each.flops / 1e9, rate, None if each.share is None else each.share.number


def _range(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.4g} ({min(seconds):.4g}–{max(seconds):.4g})"


def _interval(value: Interval) -> str:
    return f"{value.value:.3g} [{value.low:.3g}, {value.high:.3g}]"


def _cell(cell: Cell) -> str:
    if isinstance(cell, tuple):
        return _interval(Interval(*cell))
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
