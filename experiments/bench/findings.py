"""What cases answer, gathered; the claims made of it; and how a terminal, the report's tables and its plot show it."""

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.bench import duel
from experiments.bench.config import SharedThresholds
from experiments.bench.duel import BEFORE, OURS, Duel
from experiments.bench.workloads import LANGUAGE, MODES
from gendiff.runs.reporting import figures as drawing
from gendiff.runs.reporting import formatting, verdicts
from gendiff.runs.reporting.results import CellValue, Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.scaling import Accelerator, accelerators, roofline

RATES = (
    *("case", "seconds", "seconds to compile", "FLOP", "FLOP/s", "share of the peak (MFU)"),
    *("bytes", "bytes/s", "share of the bandwidth", "bytes by XLA", "peak bytes in use"),
    *("least seconds by the roofline", "bound by", "device"),
)
VOID = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Ratio:
    """How many times faster one way is than another; claimed where `threshold` names a field of Thresholds."""

    name: str
    statement: str
    value: Number
    n: int
    threshold: str = ""


@dataclass(frozen=True)
class Limit:
    """A figure that may not exceed the field `threshold` of Thresholds."""

    name: str
    statement: str
    value: float
    threshold: str
    n: int = 1


@dataclass(frozen=True)
class Rate:
    """What a device reaches with one program, beside its bounds.

    seconds: of one call, one per round. compilation: seconds before the first. flops: operations of a call. moved:
    bytes that it reads and writes at least. xla_moved: those of all operations of the compiled program, None where XLA
    cannot tell.
    peak: bytes of the device that were in use at a time, None where it does not tell.
    """

    case: str
    seconds: Sequence[float]
    compilation: float
    flops: float
    moved: float
    xla_moved: float | None
    peak: int | None
    device: Accelerator

    @property
    def utilisation(self) -> float:
        """Share of the device's operations per second. Also known as: MFU."""
        return self.flops / (statistics.median(self.seconds) * self.device.flops)

    @property
    def traffic(self) -> float:
        """Share of the device's bandwidth, by the least bytes. Also known as: MBU."""
        return self.moved / (statistics.median(self.seconds) * self.device.bandwidth)

    @property
    def least(self) -> float:
        """Seconds at best, by the roofline."""
        return float(roofline.program_time(self.flops, self.moved, self.device))

    @property
    def bound(self) -> str:
        """What bounds the time at best: "arithmetic" or "memory"."""
        return roofline.bound(self.flops, self.moved, self.device)


@dataclass(frozen=True)
class Findings:
    """Of one case. failed: why it could not be measured, by name. skipped: what it lacks, which is no failure."""

    duels: tuple[Duel, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    limits: tuple[Limit, ...] = ()
    tables: tuple[Table, ...] = ()
    rates: tuple[Rate, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def claims(finding: Findings, limits: SharedThresholds) -> Iterable[Claim]:
    """One claim for each target. A duel whose outputs disagree is void: its ratio counts as NaN, which fails."""
    claim = functools.partial(verdicts.against, limits, None)
    for each in finding.duels:
        case, name, rounds, limit = each.case, each.case.name, len(each.seconds[OURS]), _agreement(each)
        both, value, most = f"{name}: both sides compute the same", each.difference, limit
        if not math.isnan(each.rounding):
            both, value, most = f"{name}: from float64, ours over the peer", each.rounding, "agreement_rounding"
        if not math.isnan(value):
            yield claim(f"{name}_agrees", both, value, "<=", most, n=1)
        if not math.isnan(each.apart):
            statement = f"{name}: both checkouts compute the same"
            yield claim(f"{name}_agrees_with_before", statement, each.apart, "<=", limit, n=1)
        if each.ratio is not None:
            void = not value <= getattr(limits, most)
            if case.threshold:
                statement = f"{name}: times faster than torch ({each.mode})"
                yield claim(name, statement, VOID if void else each.ratio, ">=", case.threshold, n=rounds)
            if case.memory:
                statement = f"{name}: peak memory of torch over ours, compilation included"
                less = next(peak for mode, peak in each.peak_mib.items() if mode in MODES) / each.peak_mib[OURS]
                yield claim(f"{name}_memory", statement, VOID if void else less, ">=", "memory", n=1)
        share, rate = each.share, "those of a matrix product"
        if case.share == "utilisation":
            share, rate = _utilisation(each), "the GPU’s peak"
        if case.share and share is not None:
            yield claim(f"{name}_rate", f"{name}: FLOP/s over {rate}", share, ">=", case.share, n=rounds)
    for ratio in finding.ratios:
        if ratio.threshold:
            yield claim(ratio.name, ratio.statement, ratio.value, ">=", ratio.threshold, n=ratio.n)
    for figure in finding.limits:
        yield claim(figure.name, figure.statement, figure.value, "<=", figure.threshold, n=figure.n)
    for name, why in finding.failed.items():
        yield claim(f"{name}_ran", f"{name}: could not be measured: {why[:200]}", 1.0, "<=", "failed", n=1)


def ratios(finding: Findings, limits: SharedThresholds) -> list[Ratio]:
    """Every ratio that is not to the peer: those of the case itself, and to the other checkout, void where outputs
    disagree.
    """
    parts = list(finding.ratios)
    for each in finding.duels:
        if each.gain is not None:
            gain = each.gain if each.apart <= getattr(limits, _agreement(each)) else VOID
            name, words = f"{each.case.name}_{BEFORE}", f"{each.case.name}: time of the other checkout over ours"
            parts.append(Ratio(name, words, gain, len(each.seconds[OURS])))
    return parts


def lines(finding: Findings, limits: SharedThresholds) -> Iterable[str]:
    """What one case found, for the terminal."""
    for each in finding.duels:
        text = f"  ours {statistics.median(each.seconds[OURS]):.4g} s"
        if each.mode is not None:
            text += f", torch {each.mode} {statistics.median(each.seconds[each.mode]):.4g} s: {_cell(each.ratio)} times"
            text += f"; outputs differ by {each.difference:.1e}"
            text += "" if math.isnan(each.rounding) else f", from float64 {each.rounding:.2f} times as much as torch"
        if each.gain is not None:
            text += f"; outputs differ by {each.apart:.1e} from the other checkout"
        if each.tokens:
            text += f"; {each.tokens / statistics.median(each.seconds[OURS]):,.0f} tokens per second"
        if each.share is not None:
            text += f"; {_cell(each.share)} of the matrix product's rate"
        yield f"{text}  ({each.case.name})"
    for ratio in ratios(finding, limits):
        yield f"  {ratio.statement}: {_cell(ratio.value)}"
    for limit in finding.limits:
        yield f"  {limit.statement}: {_cell(limit.value)}"
    for rate in finding.rates:
        median, scaled = statistics.median(rate.seconds), formatting.scaled
        yield (
            f"  {median:.4g} s, at least {rate.least:.4g} s, bound by {rate.bound}; "
            f"{scaled(rate.flops / median, 'FLOP/s')} are {rate.utilisation:.1%} of the peak of {rate.device.name}, "
            f"{scaled(rate.moved / median, 'B/s')} {rate.traffic:.1%} of its bandwidth; "
            f"{rate.compilation:.3g} s to compile  ({rate.case})"
        )
    for table in finding.tables:
        yield from (f"  {'  '.join(map(_cell, row))}" for row in table.rows)
    for name, why in finding.failed.items():
        yield f"  {name} failed: {why}"
    for name, why in finding.skipped.items():
        yield f"  {name} is left out: {why}"


def tables(outcomes: Sequence[Findings], limits: SharedThresholds) -> tuple[Table, ...]:
    """Every number behind the claims."""
    duels = [each for finding in outcomes for each in finding.duels]
    parts = [
        Table(
            "Times of the work done once, in seconds, and how many times faster ours is",
            ("case", "ours", "torch", "torch's best mode", "ratio", "target", "outputs differ by", "idle side, cores"),
            tuple(map(_times, duels)),
        ),
        Table(
            "Modes of torch: seconds before the pairs; first time, with compilation",
            ("case", "mode", "seconds", "first time", "why not"),
            tuple(row for each in duels for row in _modes(each)),
        ),
        Table(
            "Rates: FLOPs by XLA's count before optimisation, or by formula",
            ("case", "GFLOP", "GFLOP/s", "share of the matrix product's rate"),
            tuple(map(_rate, duels)),
        ),
        Table(
            "Tokens per second of a training step or of writing: median (least–most)",
            ("case", "ours", "torch in its best mode", "share of the matrix product's rate"),
            tuple(_tokens(each) for each in duels if each.tokens),
        ),
        Table(
            "Peak resident memory in MiB of a process that does this alone",
            ("case", "ours", "torch eager"),
            tuple((each.case.name, each.peak_mib.get(OURS), each.peak_mib.get(MODES[0])) for each in duels),
        ),
        Table(
            "Other ratios",
            ("ratio", "value", "pairs"),
            tuple((ratio.statement, ratio.value, ratio.n) for finding in outcomes for ratio in ratios(finding, limits)),
        ),
        Table(
            "On the device: median seconds of a call [least, most]; operations and least bytes by formula",
            RATES,
            tuple(_device_rate(rate) for finding in outcomes for rate in finding.rates),
        ),
        Table("Left out", ("case", "why"), tuple(item for finding in outcomes for item in finding.skipped.items())),
    ]
    return (*(table for table in parts if table.rows), *(table for finding in outcomes for table in finding.tables))


def figures(outcomes: Sequence[Findings], limits: SharedThresholds, folder: Path) -> tuple[Figure, ...]:
    """One bar per ratio, with its interval; none where nothing was compared."""
    bars = {each.case.name: each.ratio for finding in outcomes for each in finding.duels if each.ratio is not None}
    bars |= {ratio.name: ratio.value for finding in outcomes for ratio in ratios(finding, limits)}
    if not bars:
        return ()
    caption = (
        "The other side's time over ours, torch in its best mode: medians over interleaved pairs with 95 % intervals."
    )
    return (
        drawing.bars(
            bars, folder / "ratios.png", caption, x_label="times faster", log=True, thresholds=[("equal", 1.0)]
        ),
    )


def spread(seconds: Sequence[float]) -> tuple[float, float, float]:
    """(median, least, most)."""
    return statistics.median(seconds), min(seconds), max(seconds)


def _agreement(each: Duel) -> str:
    """The threshold of its outputs' difference."""
    if each.case.workload.dtype == "float32":
        return "agreement"
    return "agreement_logits_bfloat16" if each.case.workload.kind in LANGUAGE else "agreement_bfloat16"


def _utilisation(each: Duel) -> Number | None:
    device = accelerators.of_kind(each.device.rpartition(": ")[2])
    if device is None or not each.flops > 0:
        return None
    return duel.ratio([each.flops / device.flops] * len(each.seconds[OURS]), each.seconds[OURS])


def _device_rate(rate: Rate) -> tuple[CellValue, ...]:
    median, device = statistics.median(rate.seconds), rate.device
    arithmetic = rate.flops, rate.flops / median, rate.utilisation
    memory = rate.moved, rate.moved / median, rate.traffic, rate.xla_moved, rate.peak
    what = f"{device.name}: {device.source}"
    return rate.case, spread(rate.seconds), rate.compilation, *arithmetic, *memory, rate.least, rate.bound, what


def _times(each: Duel) -> tuple[CellValue, ...]:
    case, mode = each.case, each.mode
    ours, theirs = (
        "{:.4g} ({:.4g}–{:.4g})".format(*spread(each.seconds[name])) if name else None for name in (OURS, mode)
    )
    value, busy = (None, None) if mode is None else (f"{each.difference:.1e}", round(each.busy, 2))
    return case.name, ours, theirs, mode, each.ratio, case.threshold, value, busy


def _modes(each: Duel) -> Iterable[tuple[CellValue, ...]]:
    for mode, seconds in {OURS: statistics.median(each.seconds[OURS]), **each.tried}.items():
        yield each.case.name, mode, seconds, each.first[mode], None
    for mode, why in each.failed.items():
        yield each.case.name, mode, None, None, why


def _rate(each: Duel) -> tuple[CellValue, ...]:
    giga = each.flops / 1e9
    return each.case.name, giga, giga / statistics.median(each.seconds[OURS]), each.share


def _tokens(each: Duel) -> tuple[CellValue, ...]:
    def rate(way: str | None) -> str | None:
        if way is None:
            return None
        median, least, most = (each.tokens / seconds for seconds in spread(each.seconds[way]))
        return f"{median:,.0f} ({most:,.0f}–{least:,.0f})"

    return each.case.name, rate(OURS), rate(each.mode), each.share


def _cell(cell: CellValue) -> str:
    if isinstance(cell, tuple):
        return "{:.3g} [{:.3g}, {:.3g}]".format(*cell)
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
