"""The tables of the certify experiment, and the one for the README."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.diffusion.certify.findings import FORMULAS, LENGTH, Errors, Range
from experiments.reporting.results import Cell, Table
from gendiff.diffusion.certify import Certificate, Curve

README = "Samplers"
"""Title of the table that `markdown` takes."""


def stated_kind(certificate: Certificate) -> str:
    """The kind of error that theory speaks of; else the weak one of a stochastic sampler."""
    return next(iter(certificate.method.stated), "weak" if certificate.stochastic else "flow")


def readme(measured: Sequence[Certificate]) -> Table:
    """Sampler, evaluations in n steps, order of theory, measured order, source."""
    rows: list[tuple[Cell, ...]] = []
    for certificate in measured:
        curve = certificate.curve(stated_kind(certificate))
        kind = "" if curve.kind == "flow" else f"{curve.kind} "
        theory = "—" if curve.stated is None else f"{kind}{curve.stated:g}"
        fit = curve.fit
        order = "—" if fit.order is None else f"{kind}{fit.order:.2f} [{fit.low:.2f}, {fit.high:.2f}]"
        rows.append((certificate.method.call, certificate.method.evaluations, theory, order, certificate.method.source))
    return Table(README, ("sampler", "evaluations in n steps", "order: theory", "measured", "source"), tuple(rows))


def markdown(table: Table) -> str:
    """The table as Markdown, the first column as code."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for row in table.rows:
        first, *rest = (str(cell) for cell in row)
        lines.append("| " + " | ".join([f"`{first}`", *rest]) + " |")
    return "\n".join(lines) + "\n"


def samplers(measured: Sequence[Certificate], evaluations: Sequence[int], seed: int) -> Table:
    """Everything measured of each sampler."""
    rows: list[tuple[Cell, ...]] = []
    for certificate in measured:
        curve = certificate.curve(stated_kind(certificate))
        exact = [case.name for case in certificate.cases if case.holds]
        theory = "—" if curve.stated is None else f"{curve.stated:g}"
        errors = [error_at(curve, count) for count in evaluations]
        about = (certificate.method.call, certificate.method.evaluations, certificate.method.start_up, curve.kind, theory)
        rows.append((*about, _order(curve), *errors, ", ".join(exact), certificate.method.source))
    columns: tuple[str, ...] = ("sampler", "evaluations", "start-up", "error", "theory", "measured order")
    columns += tuple(f"error at {count} evaluations" for count in evaluations) + ("exact", "source")
    title = f"All samplers, seed {seed}; errors at a number of evaluations lie on the line through the measured ones"
    return Table(title, columns, tuple(rows))


def unfitted(measured: Sequence[Certificate]) -> list[Table]:
    """The orders that were not fitted, and why; no table where all were."""
    unfitted = [(each.method.call, curve) for each in measured for curve in each.curves if curve.fit.order is None]
    rows = [(call, curve.kind, curve.fit.reason) for call, curve in unfitted]
    return [Table("Not fitted, and why", ("sampler", "error", "reason"), tuple(rows))] if rows else []


def error_at(curve: Curve, evaluations: int) -> float | None:
    """The error at a number of evaluations, linear between the measured ones in both logarithms; None beyond them."""
    counts = np.asarray(curve.evaluations, np.float64)
    if not len(counts) or not counts[0] <= evaluations <= counts[-1]:
        return None
    errors = np.maximum(np.asarray(curve.errors, np.float64), np.finfo(np.float64).tiny)
    return math.exp(np.interp(math.log(evaluations), np.log(counts), np.log(errors)))


def third_order(measured: Mapping[Range, Mapping[str, Curve]]) -> list[Table]:
    """For each range of levels: error and order of both formulas, and the ratio of their errors, by the number of steps."""
    tables = []
    for between, curves in measured.items():
        exact, published = (curves[formula] for formula in FORMULAS)
        rows = []
        for k, n in enumerate(exact.steps):
            orders = [curve.orders[k - 1] if k else None for curve in (exact, published)]
            rows.append((n, exact.errors[k], orders[0], published.errors[k], orders[1], published.errors[k] / exact.errors[k]))
        columns = ("steps", "exact", "order", "published", "order (published)", "published / exact")
        tables.append(Table(f"Third-order multistep, exact and as published, {between}", columns, tuple(rows)))
    return tables


def wrong_counts(wrong: Mapping[str, Sequence[int]], most: int) -> Table:
    """For how many numbers of steps the formula aims at another entry than the grid, and for which first ones it does not."""
    rows: list[tuple[Cell, ...]] = []
    for spacing, counts in wrong.items():
        right = [n for n in range(1, most + 1) if n not in set(counts)]
        shown = ", ".join(map(str, right[:16])) + (", …" if len(right) > 16 else "")
        rows.append((spacing, len(counts), shown))
    title = f"t − T//n on a table of {LENGTH}: numbers of steps with a wrong target, of 1…{most}"
    return Table(title, ("spacing", "wrong", "right"), tuple(rows))


def previous_timestep(measured: Mapping[str, Errors]) -> list[Table]:
    """For each spacing with a wrong target: how many are wrong, and the errors by grid and formula, by the number of steps."""
    tables = []
    for spacing, errors in measured.items():
        if not any(errors.wrong):
            continue
        rows = [
            (n, missed, errors.error("grid", n), errors.error("formula", n), errors.ratio(n))
            for n, missed in zip(errors.counts, errors.wrong, strict=True)
        ]
        columns = ("steps", "wrong targets", "error by the grid", "error by t − T//n", "ratio")
        tables.append(Table(f"DDIM with {spacing} spacing, by the grid and by t − T//n", columns, tuple(rows)))
    return tables


def _order(curve: Curve) -> Cell:
    fit = curve.fit
    return None if fit.order is None or fit.low is None or fit.high is None else (fit.order, fit.low, fit.high)
