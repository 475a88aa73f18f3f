"""The numbers of the run: metrics of each size, the three hypotheses, and what one doubling of computation brings."""

import numpy as np

from experiments.scaling.emergence import findings, train
from experiments.scaling.emergence.config import SHUFFLED, Config
from experiments.scaling.emergence.figures import METRICS
from experiments.scaling.emergence.findings import Found
from gendiff.runs.reporting.formatting import Cell
from gendiff.runs.reporting.results import Table


def every(config: Config, found: dict[str, Found]) -> tuple[Table, ...]:
    """All tables."""
    return _hypotheses(config, found), _sizes(config, found), _rises(config, found), _doublings(config, found)


def _hypotheses(config: Config, found: dict[str, Found]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for kind in config.formats:
        for each in findings.hypotheses(config, found[kind]):
            numbers = ", ".join(f"{number:.3g}" for number in each.numbers)
            rows.append((kind, each.name, each.predicts, numbers, f"{int(each.holds.sum())} of {len(each.holds)}", each.says))
    note = (
        "Each is judged by itself, and more than one may hold. Metric: the loss is smooth, and exact match is a sharp function of it. "
        "Transition: the loss itself has a kink. Percolation: it has one, and sums of different difficulty are learned at one size."
    )
    columns = ("answers", "hypothesis", "predicts", "measured in each seed", "seeds", "verdict")
    return Table("Three hypotheses about the rise.", columns, tuple(rows), note, main=True)


def _sizes(config: Config, found: dict[str, Found]) -> Table:
    sizes, flops = train.parameters(config), train.flops(config)
    rows: list[tuple[Cell, ...]] = []
    for kind, of in found.items():
        values = [findings.table(of, metric.of).mean(1) for metric in METRICS]
        for at, width in enumerate(config.widths):
            rows.append((kind, width, int(sizes[at]), float(flops[at]), *(float(value[at]) for value in values)))
    columns = ("answers", "width", "parameters", "operations", *(metric.name for metric in METRICS))
    note = (
        f"Parameters: entries of the matrices of all blocks. Operations: of one training. {SHUFFLED.capitalize()} answers are the control."
    )
    return Table(f"Means over seeds, {config.judged} held-out sums.", columns, tuple(rows), note, main=True)


def _rises(config: Config, found: dict[str, Found]) -> Table:
    """Where exact match reaches one half, and over how many decades metrics rise."""
    sizes, floor = train.parameters(config), findings.floors(found[SHUFFLED])
    rows: list[tuple[Cell, ...]] = []
    for kind in config.formats:
        digits, exact = (findings.table(found[kind], metric) for metric in (findings.digit_accuracy, findings.exact_match))
        for number, seed in enumerate(config.seeds):
            bands = findings.bands(sizes, digits[:, number], exact[:, number], floor)
            begins = "below the smallest size" if findings.censored(digits[:, number], floor) else "within"
            rows.append((kind, seed, *(_known(each) for each in (findings.middle(sizes, exact[:, number]), *bands)), begins))
    names = ("parameters at one half", "decades of digit accuracy", "decades of exact match", "rise of digit accuracy begins")
    columns = ("answers", "seed", *names)
    note = (
        f"From 0.1 to 0.9 of the way from the control, which has {floor[0]:.3f} of the digits and {floor[1]:.4f} of the answers, to 1. "
        "Where the rise begins below the smallest size, digit accuracy rises over at least so many decades. "
        "No number: the rise has no end within the sizes."
    )
    return Table("Where the rise lies and how wide it is.", columns, tuple(rows), note)


def _doublings(config: Config, found: dict[str, Found]) -> Table:
    """The saying "double the computation and it suddenly succeeds", as a measured slope."""
    flops = train.flops(config)
    rows: list[tuple[Cell, ...]] = []
    for kind in config.formats:
        metrics = (findings.exact_match, findings.digit_accuracy, findings.nll_per_digit)
        exact, digits, losses = (findings.table(found[kind], metric) for metric in metrics)
        for number, seed in enumerate(config.seeds):
            gain, start = findings.steepest_doubling(flops, exact[:, number])
            if np.isnan(gain):
                continue
            ends = np.log2([start, 2 * start])
            before, after = np.interp(ends, np.log2(flops), exact[:, number])
            others = [np.diff(np.interp(ends, np.log2(flops), values[:, number]))[0] for values in (digits, losses)]
            rows.append((kind, seed, float(start), float(before), float(after), float(gain), *map(float, others)))
    columns = (
        "answers",
        "seed",
        "operations",
        "exact match",
        "at twice as many",
        "gain",
        "gain of digit accuracy",
        "change of NLL per digit",
    )
    note = "Sizes differ, tokens do not: twice the operations are about twice the parameters. Between sizes a line in log operations."
    return Table("The doubling of computation in which exact match gains most.", columns, tuple(rows), note, main=True)


def _known(number: float) -> Cell:
    return None if np.isnan(number) else float(number)
