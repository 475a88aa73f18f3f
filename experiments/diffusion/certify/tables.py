"""The tables of the certify experiment, and the one that it leaves as Markdown."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from experiments.diffusion.certify import findings
from experiments.diffusion.certify.findings import LENGTH, Errors, Range
from gendiff.diffusion.certify import Certificate, Curve
from gendiff.runs.reporting.results import CellValue, Table
from gendiff.runs.reporting.verdicts import Number


def samplers(measured: Sequence[Certificate], evaluations: Sequence[int], seed: int) -> list[Table]:
    """A short table of all samplers, which `markdown` takes, and everything that was measured of each."""
    short, long = [], []
    for each in measured:
        method = each.method
        # the error of which theory speaks
        curve = each.curve(next(iter(method.stated), "weak" if each.stochastic else "flow"))
        kind = "" if curve.kind == "flow" else f"{curve.kind} "
        theory = "—" if curve.stated is None else f"{curve.stated:g}"
        order = fitted(curve)
        words = "—" if order is None else "{}{:.2f} [{:.2f}, {:.2f}]".format(kind, *order)
        errors = [error_at(curve, count) for count in evaluations]
        exact = ", ".join(case.name for case in each.cases if case.holds)
        short.append(
            (method.call, method.evaluations, theory if curve.stated is None else kind + theory, words, method.source)
        )
        long.append(
            (method.call, method.evaluations, method.start_up, curve.kind, theory, order, *errors, exact, method.source)
        )
    at = [f"error at {count} evaluations" for count in evaluations]
    columns = ("sampler", "evaluations", "start-up", "error", "theory", "measured order", *at, "exact", "source")
    title = f"All samplers, seed {seed}; errors at a number of evaluations lie on the line through the measured ones"
    return [
        Table("Samplers", ("sampler", "evaluations in n steps", "order: theory", "measured", "source"), tuple(short)),
        Table(title, columns, tuple(long)),
    ]


def markdown(table: Table) -> str:
    """The table as Markdown, the first column as code."""
    rows = [table.columns, ("---",) * len(table.columns), *((f"`{first}`", *rest) for first, *rest in table.rows)]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def unfitted(measured: Sequence[Certificate]) -> list[Table]:
    """The orders that were not fitted, and why; no table where all were."""
    rows = [
        (each.method.call, curve.kind, curve.fit.reason)
        for each in measured
        for curve in each.curves
        if curve.fit.order is None
    ]
    return [Table("Not fitted, and why", ("sampler", "error", "reason"), tuple(rows))] if rows else []


def fitted(curve: Curve) -> Number | None:
    """The fitted order with its interval; None where nothing was fitted."""
    fit = curve.fit
    return None if fit.order is None or fit.low is None or fit.high is None else (fit.order, fit.low, fit.high)


def error_at(curve: Curve, evaluations: int) -> float | None:
    """The error at a number of evaluations, linear between the measured ones in both logarithms; None beyond them."""
    counts = np.asarray(curve.evaluations, np.float64)
    if not len(counts) or not counts[0] <= evaluations <= counts[-1]:
        return None
    errors = np.maximum(np.asarray(curve.errors, np.float64), np.finfo(np.float64).tiny)
    return math.exp(np.interp(math.log(evaluations), np.log(counts), np.log(errors)))


def third_order(between: Range, exact: Curve, published: Curve) -> Table:
    """Error and order of both formulas, and the ratio of their errors, by the number of steps."""
    rows = zip(
        exact.steps, exact.errors, (None, *exact.orders), published.errors, (None, *published.orders), strict=True
    )
    columns = ("steps", "exact", "order", "published", "order (published)", "published / exact")
    title = f"Third-order multistep, exact and as published, {between}"
    return Table(title, columns, tuple((*row, row[3] / row[1]) for row in rows))


def wrong_counts(spacings: Iterable[str], most: int) -> Table:
    """For how many numbers of steps the formula aims at another entry than the grid, and for which first ones it does
    not.
    """
    rows: list[tuple[CellValue, ...]] = []
    for spacing in spacings:
        counts = findings.wrong_counts(spacing, most)
        right = [str(n) for n in range(1, most + 1) if n not in counts]
        rows.append((spacing, len(counts), ", ".join(right[:16]) + (", …" if len(right) > 16 else "")))
    title = f"t − T//n on a table of {LENGTH}: numbers of steps with a wrong target, of 1…{most}"
    return Table(title, ("spacing", "wrong", "right"), tuple(rows))


def previous_timestep(spacing: str, errors: Errors) -> list[Table]:
    """How many targets are wrong, and the errors by grid and formula, by the number of steps; no table where no target
    is wrong.
    """
    wrong = {n: findings.wrong_targets(spacing, n) for n in errors.counts}
    if not any(wrong.values()):
        return []
    rows = [
        (n, missed, errors.error("grid", n), errors.error("formula", n), errors.ratio(n)) for n, missed in wrong.items()
    ]
    columns = ("steps", "wrong targets", "error by the grid", "error by t − T//n", "ratio")
    return [Table(f"DDIM with {spacing} spacing, by the grid and by t − T//n", columns, tuple(rows))]
