"""What the finished rows say: losses by protocol, network and budget, and the exponents of the best size, with
intervals.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.scaling.scaling_train import rows
from experiments.scaling.scaling_train.rows import Config, Cost, Kind
from gendiff.core.errors import DataError
from gendiff.runs import sweep
from gendiff.runs.reporting import json_files
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import fits
from gendiff.scaling.fits import IsoFlopFit, ParametricFit, Points

SEED = 0
"""Of resamples."""
KAPLAN = 6.0
"""Operations per parameter and token where embeddings, and so the last layer, are not counted."""


@dataclass(frozen=True)
class Run:
    """A network at the end of a budget.

    size, factor: of `rows.Planned`. steps: at the end. losses: (seeds,); NaN where the training failed. seconds: of all
        seeds.
    """

    protocol: str
    kind: Kind
    size: int
    budget: float
    factor: float
    cost: Cost
    steps: int
    losses: tuple[float, ...]
    seconds: float

    @property
    def loss(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.losses))

    @property
    def tokens(self) -> int:
        """That each seed has learned from."""
        return self.steps * self.cost.step_tokens

    @property
    def flops(self) -> int:
        """Operations of each seed."""
        return self.steps * self.cost.step_flops


def runs(config: Config, folder: RunFolder) -> list[Run]:
    """Every run of every protocol. DataError where a row is missing, and where rows were trained on different data."""
    finished = dict(sweep.results(rows.rows(config), folder))
    for kind in {row.kind for row in finished}:
        digests = {line["data"] for row, each in finished.items() if row.kind == kind for line in each.lines}
        if len(digests) > 1:
            raise DataError(
                f"{folder.rows}: rows of {kind} were trained on different data, as of two versions of Python: remove "
                "some"
            )
    results = []
    for each in rows.planned(config):
        row, (lines, seconds) = each.row, (finished[each.row].lines, finished[each.row].seconds)
        for mark, budget in zip(row.marks, each.budgets, strict=True):
            losses = {line["seed"]: line["loss"] for line in lines if line["step"] == mark}
            by_seed, shared = tuple(losses.get(seed, np.nan) for seed in config.seeds), seconds * mark / sum(row.marks)
            results.append(
                Run(each.protocol, row.kind, each.size, budget, each.factor, rows.cost_of(row), mark, by_seed, shared)
            )
    return results


def chosen(all_runs: Iterable[Run], protocol: str, kind: Kind = rows.TEXT) -> list[Run]:
    """The runs of one protocol and kind of data whose losses are known for all seeds."""
    return [run for run in all_runs if run.protocol == protocol and run.kind == kind and np.isfinite(run.losses).all()]


def table(sweep_runs: Sequence[Run], losses: Sequence[float] | None = None, *, embeddings: bool = True) -> Points:
    """The runs as points of a scaling law. losses: one per run; None: means over seeds.

    embeddings: whether parameters and operations are those of all layers. False: those that Kaplan et al. count, C = 6
    N D without the last layer.
    """
    size = np.array([run.cost.parameters if embeddings else run.cost.bare for run in sweep_runs], np.float64)
    tokens = np.array([run.tokens for run in sweep_runs], np.float64)
    operations = np.array([run.flops for run in sweep_runs], np.float64) if embeddings else None
    return fits.points(
        size, tokens, np.array([run.loss for run in sweep_runs] if losses is None else losses), operations
    )


def write_points(sweep_runs: Sequence[Run], path: Path) -> None:
    """A CSV of means over seeds, which `scaling-fit --data` reads."""
    points = table(sweep_runs)
    columns = (points.parameters, points.tokens, points.flops, points.loss)
    lines = [",".join(map(repr, map(float, line))) for line in zip(*columns, strict=True)]
    json_files.write_bytes(path, "\n".join(["parameters,tokens,flops,loss", *lines, ""]).encode())


def minima(
    sweep_runs: Sequence[Run], losses: Sequence[float] | None = None, *, embeddings: bool = True
) -> IsoFlopFit | None:
    """Approach 2 on runs; None where fewer than two budgets have a minimum inside. Arguments as of `table`.

    Without embeddings, runs of one budget spend different operations, so losses are first read at equal ones.
    """
    try:
        points = table(sweep_runs, losses, embeddings=embeddings)
        return fits.fit_isoflop(
            points if embeddings else at_equal_budgets(points, len({run.budget for run in sweep_runs}))
        )
    except ValueError:
        return None


def least(sweep_runs: Sequence[Run], seed: int) -> dict[float, float]:
    """The least loss of each budget over the networks, by rising budget. seed: by its place."""
    return {
        budget: min(run.losses[seed] for run in sweep_runs if run.budget == budget)
        for budget in sorted({run.budget for run in sweep_runs})
    }


def exponent(sweep_runs: Sequence[Run], losses: Sequence[float] | None = None, *, embeddings: bool = True) -> float:
    """Exponent of the best size by `minima`; NaN where there are none."""
    fit = minima(sweep_runs, losses, embeddings=embeddings)
    return math.nan if fit is None else float(fit.exponent)


def at_equal_budgets(points: Points, count: int) -> Points:
    """Losses of every size at the same budgets, by lines in the logs of operations and loss; none is extended beyond
    its runs.

    count: of budgets, evenly in the log between the medians over sizes of their least and of their largest operations.
    """
    sizes = np.unique(points.parameters)
    curves = []
    for size in sizes:
        points_of_size = points.take(np.flatnonzero(points.parameters == size))
        order = np.argsort(points_of_size.flops)
        curves.append((np.log(points_of_size.flops[order]), np.log(points_of_size.loss[order])))
    ends = [float(np.median([flops[at] for flops, _ in curves])) for at in (0, -1)]
    grid = np.linspace(ends[0], ends[1], count)
    losses = np.stack([np.interp(grid, *curve, left=np.nan, right=np.nan) for curve in curves])
    across, budget = np.nonzero(np.isfinite(losses))
    return fits.points(sizes[across], None, np.exp(losses[across, budget]), np.exp(grid[budget]), per_token=KAPLAN)


Drawn = Callable[[Sequence[Run]], tuple[list[Run], list[float]]]
"""From runs to those that a resample keeps, and their losses in it."""


def resampled(sizes: int, resamples: int, estimate: Callable[[Drawn], float]) -> np.ndarray:
    """(resamples,) of an estimate. Each draw takes one seed for each run, and leaves out one of so many sizes."""
    rng, values = np.random.default_rng(SEED), []
    for _ in range(resamples):
        left_out = int(rng.integers(sizes))

        def resample(sweep_runs: Sequence[Run], left_out: int = left_out) -> tuple[list[Run], list[float]]:
            remaining = [run for run in sweep_runs if run.size != left_out]
            return remaining, [run.losses[rng.integers(len(run.losses))] for run in remaining]

        values.append(estimate(resample))
    return np.array(values)


def number(value: float, draws: np.ndarray) -> Number:
    """A value with the 95 % interval of its resamples; NaN ends where most of them found nothing."""
    there = draws[np.isfinite(draws)]
    if len(there) < len(draws) / 2:
        return value, math.nan, math.nan
    low, high = np.quantile(there, (0.025, 0.975))
    return value, float(low), float(high)


def exponent_of(config: Config, sweep_runs: Sequence[Run], *, embeddings: bool = True) -> Number:
    """The exponent of runs of one protocol and kind of data, with its interval."""
    sizes = max((run.size for run in sweep_runs), default=0) + 1
    draws = resampled(sizes, config.resamples, lambda resample: exponent(*resample(sweep_runs), embeddings=embeddings))
    return number(exponent(sweep_runs, embeddings=embeddings), draws)


def bend(config: Config, all_runs: Sequence[Run]) -> Number:
    """Exponent under a fixed horizon with early stops less that under matched ones; embeddings count in both.

    Both are of the networks and budgets that either protocol has: parabolas of other sizes would differ by themselves.
    """
    fixed = chosen(all_runs, rows.FIXED)
    shared = {(run.size, run.budget) for run in fixed}
    matched = [run for run in chosen(all_runs, rows.MATCHED) if (run.size, run.budget) in shared]
    draws = resampled(
        len(config.text.widths),
        config.resamples,
        lambda resample: exponent(*resample(fixed)) - exponent(*resample(matched)),
    )
    return number(exponent(fixed) - exponent(matched), draws)


def r_squared(least: Mapping[float, float]) -> float:
    """Of the line through the logs of budgets and their least losses; NaN with fewer than three, through which a line
    says nothing.
    """
    if len(least) < 3:
        return math.nan
    return fits.fit_power_law(np.array(list(least)), np.array(list(least.values()))).r_squared


def above_least(config: Config, all_runs: Sequence[Run]) -> float:
    """Loss at the rule's learning rate above the least of all that were tried, means over seeds: the larger one of the
    two sizes.
    """
    gaps = []
    for size in config.checked:
        losses = {run.factor: run.loss for run in chosen(all_runs, rows.RATES) if run.size == size}
        gaps.append(losses.get(1.0, math.nan) - min(losses.values(), default=math.nan))
    return float(np.max(gaps))


def parametric(sweep_runs: Sequence[Run]) -> ParametricFit | None:
    """Approach 3 on means over seeds; None where there are too few runs, or the loss does not fall with both."""
    try:
        return fits.fit_parametric(table(sweep_runs))
    except ValueError:
        return None


def envelope(sweep_runs: Sequence[Run]) -> float:
    """The exponent of approach 1 on means over seeds; NaN where there is none."""
    try:
        return float(fits.fit_envelope(table(sweep_runs)).exponent)
    except ValueError:
        return math.nan


def tokens_at(sweep_runs: Sequence[Run], budget: float, size: float) -> float:
    """Tokens of a size at a budget, between those of the runs: operations per token grow smoothly with the size."""
    near = sorted(
        (run for run in sweep_runs if abs(np.log(run.budget / budget)) < 0.2), key=lambda run: run.cost.parameters
    )
    sizes, tokens = np.log([run.cost.parameters for run in near]), np.log([run.tokens for run in near])
    return float(np.exp(np.interp(np.log(size), sizes, tokens)))
