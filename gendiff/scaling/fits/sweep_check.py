"""Checks of the table of a sweep: a fit converges on wrong numbers as well, and its intervals do not show them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from gendiff.core import checks
from gendiff.scaling.fits import huber
from gendiff.scaling.fits.data_points import Points
from gendiff.scaling.fits.parametric import ParametricFit, lowest_starts
from gendiff.scaling.laws import Chinchilla

OFF = 3.0
"""Factor between the operations of runs and 6 N D, or the usual multiple of it, above which one of the two is wrong."""
FAR, LEAST = 6.0, 0.02
"""Robust standard deviations, and the distance in ln L, above which a residual is none of noise."""
NEAR = 4.0
"""Robust standard deviations within which a size fits once its unit is changed."""
UNIT = 1000.0
CLOSE = 2.0
"""Times the least scatter of a rest that a size is found without; other findings are the work of that size."""
STARTS = 4
"""Further starts of each fit without one size."""

Kind = Literal["operations", "doubled", "far from the fit", "unit of a size", "approaches disagree"]


@dataclass(frozen=True)
class Finding:
    """A probable mistake of a sweep.

    Args:
        kind: of what was compared.
        says: what is wrong, and what to look at.
        rows: which runs of the table, from 0; none where it is about all.
    """

    kind: Kind
    says: str
    rows: tuple[int, ...] = ()


def check_sweep(
    table: Points,
    fit: ParametricFit | None = None,
    exponents: Mapping[str, tuple[float, float, float]] | None = None,
    *,
    per_token: int | float = 6.0,
) -> tuple[Finding, ...]:
    """Look for mistakes in a sweep: operations against 6 N D, doubled runs, outliers of loss, sizes in thousands.

    A fit takes them without a word. A clean sweep with log-normal noise has no finding. One mistake may have several.

    Args:
        table: of the sweep, without runs that are left out on purpose.
        fit: of the same runs; None compares no loss.
        exponents: of the frontier by each approach, as (value, low, high); those without an interval are passed over.
        per_token: operations of training per parameter and token, > 0.

    Returns:
        The findings, by the order of `Kind`.
    """
    checks.in_range("per_token", per_token, 0.0, math.inf, open_low=True, open_high=True)
    findings = [*_operations(table, float(per_token)), *_doubled(table)]
    if fit is not None:
        findings += [*_far(table, fit.law), *_units(table, fit)]
    return (*findings, *_disagreeing(exponents or {}))


def _operations(table: Points, per_token: float) -> list[Finding]:
    logs = np.log(table.flops / (per_token * table.parameters * table.tokens))
    usual, findings = float(np.median(logs)), list[Finding]()
    limit = math.log(OFF)
    if abs(usual) > limit:
        says = (
            f"the operations are {math.exp(usual):.3g} times {per_token:g} N D in the middle of all runs: look at "
            "the units of the columns"
        )
        findings.append(Finding("operations", says))
    wrong = np.flatnonzero(np.abs(logs - usual) > limit)
    if wrong.size:
        factor = math.exp(float(np.median(logs[wrong] - usual)))
        says = (
            f"operations contradict parameters and tokens in {_runs(wrong.size)}: they are {factor:.3g} times what "
            "the other runs have"
        )
        findings.append(Finding("operations", says, _rows(wrong)))
    return findings


def _doubled(table: Points) -> list[Finding]:
    columns = np.stack([table.parameters, table.tokens, table.loss, table.flops])
    _, first, inverse = np.unique(columns, axis=1, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[np.ravel(inverse)] != np.arange(len(table)))
    if not again.size:
        return []
    says = (
        f"{_runs(again.size)} of {len(table)} are there before, with the same loss to the last digit: intervals "
        "count them as further runs"
    )
    return [Finding("doubled", says, _rows(again))]


def _far(table: Points, law: Chinchilla) -> list[Finding]:
    residuals = _residuals(table, law)
    wrong = np.flatnonzero(np.abs(residuals) > _limit(_scale(residuals)))
    if not wrong.size:
        return []
    factor = math.exp(float(np.median(residuals[wrong])))
    says = (
        f"{_runs(wrong.size)} lie far from the surface that fits the others: their losses are {factor:.3g} times "
        "what it says"
    )
    if abs(abs(math.log(factor)) + math.log(math.log(2))) < 0.1:
        says += ", as bits among nats are"
    return [Finding("far from the fit", says, _rows(wrong))]


def _units(table: Points, fit: ParametricFit) -> list[Finding]:
    """Sizes that the fit to all others contradicts, unless they are a thousand times larger or smaller."""
    sizes, findings = np.unique(table.parameters), list[tuple[float, Finding]]()
    for size, law in zip(sizes, _without_each(table, fit, sizes), strict=True):
        if law is None:
            continue
        here = table.parameters == size
        scale = _scale(_residuals(table, law)[~here])
        if abs(np.median(_residuals(table, law)[here])) <= _limit(scale):
            continue
        for factor, word in ((UNIT, "larger"), (1 / UNIT, "smaller")):
            changed = Points(table.parameters * np.where(here, factor, 1.0), table.tokens, table.loss, table.flops)
            if abs(np.median(_residuals(changed, law)[here])) <= max(NEAR * scale, LEAST):
                says = f"{size:.4g} parameters fit the other sizes if they are {UNIT:g} times {word}: look at the unit"
                findings.append((scale, Finding("unit of a size", says, _rows(np.flatnonzero(here)))))
    # a wrong size bends the fit of the rest, which then contradicts right ones; without the wrong one the rest lies
    # closest to its fit
    return [finding for scale, finding in findings if scale <= CLOSE * min(scale for scale, _ in findings)]


def _without_each(table: Points, fit: ParametricFit, sizes: Float64[np.ndarray, "k"]) -> list[Chinchilla | None]:
    """The law of all runs but those of one size, for each size; None where that has no falling surface."""
    weights = (table.parameters != sizes[:, None]).astype(np.float64)
    target = huber.objective(table, fit.delta, weights=np.repeat(weights, STARTS + 1, axis=0))
    starts = np.concatenate([target.constants_of(fit.law), lowest_starts(huber.objective(table, fit.delta))[:STARTS]])
    reached = huber.minimise(target, np.tile(starts, (len(sizes), 1)))
    best = reached.value.reshape(len(sizes), -1).argmin(1)
    chosen = reached.constants.reshape(len(sizes), -1, 5)[np.arange(len(sizes)), best]
    return [target.law(constants) if min(constants[3:]) > 0 else None for constants in chosen]


def _disagreeing(exponents: Mapping[str, tuple[float, float, float]]) -> list[Finding]:
    """Pairs whose intervals lie apart by more than their width; on few runs, bootstrap intervals are too narrow."""
    known = {name: ends for name, ends in exponents.items() if all(map(math.isfinite, ends))}
    findings = []
    for number, (name, (value, low, high)) in enumerate(known.items()):
        for other, (second, least, most) in list(known.items())[number + 1 :]:
            gap, widths = max(low - most, least - high), (high - low) + (most - least)
            if gap > widths / 2:
                says = (
                    f"{name} has the exponent {value:.3f} [{low:.3f}, {high:.3f}], and {other} {second:.3f} "
                    f"[{least:.3f}, {most:.3f}]"
                )
                findings.append(Finding("approaches disagree", says))
    return findings


def _residuals(table: Points, law: Chinchilla) -> Float64[np.ndarray, "n"]:
    return np.log(table.loss) - np.log(np.asarray(law.loss(table.parameters, table.tokens), np.float64))


def _scale(residuals: Float64[np.ndarray, "n"]) -> float:
    """Standard deviation of the noise by the median of distances, with five constants fitted."""
    count = len(residuals)
    middle = float(np.median(np.abs(residuals - np.median(residuals))))
    return 1.4826 * middle * math.sqrt(count / max(count - 5, 1))


def _limit(scale: float) -> float:
    """The limit of a residual, above which it is no noise."""
    return max(FAR * scale, LEAST)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _rows(rows: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, rows))
