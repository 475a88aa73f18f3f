"""Approach 1: the lowest of all training curves at each budget, and a power law through the sizes that reach it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from gendiff.core import checks
from gendiff.scaling.fits.data_points import Column, Points, points
from gendiff.scaling.fits.power_law import fit_power_law
from gendiff.scaling.laws import Frontier

BUDGETS = 1500


class Curve(NamedTuple):
    """The losses of one size, along one training or at the ends of several; a plain tuple does as well.

    Args:
        parameters: N, > 0.
        flops: (k,) operations of training so far, > 0.
        loss: (k,) > 0.
    """

    parameters: int | float
    flops: Column
    loss: Column


@dataclass(frozen=True, eq=False)
class EnvelopeFit(Frontier):
    """The frontier N = coefficient · C^exponent through the sizes on the envelope.

    Args:
        coefficient: > 0.
        exponent: a.
        budgets: (k,) operations at which curves were compared, ascending.
        parameters: (k,) N of the lowest curve.
        losses: (k,) its loss.
        interior: (k,) whether a smaller and a larger size were there to lose. Only such budgets enter the frontier.
        r_squared: of the regression of log N on log C.
    """

    budgets: Float64[np.ndarray, "k"]
    parameters: Float64[np.ndarray, "k"]
    losses: Float64[np.ndarray, "k"]
    interior: Bool[np.ndarray, "k"]
    r_squared: float


def fit_envelope(
    curves: Sequence[tuple[int | float, Column, Column]] | Points, *, budgets: int = BUDGETS
) -> EnvelopeFit:
    """Interpolate the loss of every curve, take the lowest size per budget, and regress log N on log C: approach 1.

    Curves are lines in log C and log L, and are not extrapolated. Smooth noisy ones first: the lowest of many noisy
    curves is too low. Points along one training whose learning rate has not decayed yet lie above what a training of
    that length would reach, which moves the exponent (Kaplan et al., 2020, beside Hoffmann et al., 2022). Runs of a
    sweep with their schedules matched, grouped by size, have no such bias.

    Args:
        curves: (N, operations, losses) of each run; or a table of the ends of runs, which are grouped by equal N.
        budgets: how many, evenly in the log between the smallest and the largest operations.

    Raises:
        ValueError: where fewer than 2 sizes are lowest between a smaller and a larger one.

    References:
        Hoffmann et al., 2022, section 3.1 (from memory).
    """
    checks.integer("budgets", budgets, 2)
    runs = (
        _by_size(curves) if isinstance(curves, Points) else [_checked(index, run) for index, run in enumerate(curves)]
    )
    runs = sorted((run for run in runs if len(run) > 1), key=lambda run: run.parameters[0])
    sizes = np.array([run.parameters[0] for run in runs])
    if len(np.unique(sizes)) < 4:
        raise ValueError(
            f"{len(np.unique(sizes))} sizes have losses at 2 or more budgets, and 4 are needed for 2 between others: "
            "train more sizes"
        )
    logs = [np.log(run.flops) for run in runs]
    grid = np.linspace(min(log[0] for log in logs), max(log[-1] for log in logs), budgets)
    table = np.stack(
        [np.interp(grid, log, np.log(run.loss), left=np.inf, right=np.inf) for log, run in zip(logs, runs, strict=True)]
    )
    grid, table = grid[np.isfinite(table).any(0)], table[:, np.isfinite(table).any(0)]
    best = sizes[table.argmin(0)]
    there = np.where(np.isfinite(table), sizes[:, None], np.nan)
    interior = (np.nanmin(there, axis=0) < best) & (best < np.nanmax(there, axis=0))
    if len(np.unique(best[interior])) < 2:
        raise ValueError(
            f"{len(np.unique(best[interior]))} sizes are lowest at a budget that a smaller and a larger one reach too, "
            "and 2 are needed: train more sizes, or the same for longer"
        )
    line = fit_power_law(np.exp(grid[interior]), best[interior])
    return EnvelopeFit(
        line.coefficient, line.exponent, np.exp(grid), best, np.exp(table.min(0)), interior, line.r_squared
    )


def _by_size(table: Points) -> list[Points]:
    groups = (table.take(np.flatnonzero(table.parameters == size)) for size in np.unique(table.parameters))
    return [_ascending(group) for group in groups]


def _checked(index: int, run: tuple[int | float, Column, Column]) -> Points:
    size, flops, loss = run
    try:
        return _ascending(points(np.full(np.shape(loss), size, np.float64), None, loss, flops))
    except ValueError as error:
        raise ValueError(f"curves[{index}]: {error}") from error


def _ascending(run: Points) -> Points:
    """In order of operations, one point each: the lowest."""
    ordered = run.take(np.lexsort((run.loss, run.flops)))
    return ordered.take(np.unique(ordered.flops, return_index=True)[1])
