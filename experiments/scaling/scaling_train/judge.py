"""Minima, frontiers, exponents and learning rates of the trained networks, as claims."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments.scaling.scaling_train import figures, measures, rows
from experiments.scaling.scaling_train.config import Config
from experiments.scaling.scaling_train.measures import Run
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import fits


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the rows of the sweep alone: no network is asked again."""
    every = measures.runs(config, folder)
    for kind in (rows.TEXT, rows.PICTURES):
        if of := measures.chosen(every, rows.MATCHED, kind):
            measures.write_points(of, folder.path / f"points_{kind}.csv")
    with progress.phase("fit"):
        found, tables = claims(config, every), figures.tables(config, every)
    with progress.phase("figures"):
        shown = *figures.plots(config, folder, tables), *figures.every(config, folder, every)
    return Outcome(found, shown, tables)


def claims(config: Config, every: Sequence[Run]) -> tuple[Claim, ...]:
    """Every claim, by the runs that were found."""
    return (*_of_seeds(config, every), *_of_all(config, every))


def _of_seeds(config: Config, every: Sequence[Run]) -> Iterator[Claim]:
    text, pictures = (measures.chosen(every, rows.MATCHED, kind) for kind in (rows.TEXT, rows.PICTURES))
    shuffled = sorted(measures.chosen(every, rows.CONTROL, rows.SHUFFLED), key=lambda run: run.budget)
    for at, seed in enumerate(config.seeds):
        claim = functools.partial(verdicts.against, config.thresholds, seed)
        of_text, of_pictures = (measures.minima(of, [run.losses[at] for run in of]) for of in (text, pictures))
        least, least_of_pictures = measures.least(text, at), measures.least(pictures, at)
        kinds = (of_text, least, text, "", "isoflop.png"), (of_pictures, least_of_pictures, pictures, "-pictures", "pictures.png")
        for fit, losses, runs, ending, figure in kinds:
            of = functools.partial(claim, n=max(1, len(runs)), figure=figure)
            about = "of diffusion transformers" if ending else "of language models"
            share = math.nan if fit is None else float(np.mean(fit.interior))
            yield of(f"interior{ending}", f"share of the budgets {about} whose best size is inside", share, ">=", "interior")
            statement = f"R² of the line through the logs of budgets and least losses {about}"
            yield of(f"r-squared{ending}", statement, r_squared(losses), ">=", "r_squared")
        statement = "least loss of the smallest budget above that of the largest, nats per byte"
        gain = least[min(least)] - least[max(least)] if len(least) > 1 else math.nan
        yield claim("gain", statement, gain, ">=", n=max(1, len(text)), figure="isoflop.png")
        statement = "texts of shuffled bytes: loss at the smallest budget above that at the largest, nats per byte"
        gain = shuffled[0].losses[at] - shuffled[-1].losses[at] if len(shuffled) > 1 else math.nan
        yield claim("gain-shuffled", statement, gain, "<=", "gain", n=max(1, len(shuffled)), kind="control")


def _of_all(config: Config, every: Sequence[Run]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None)
    of = measures.chosen(every, rows.FIXED)
    statement = "exponent of the best size under a fixed horizon with early stops less that under matched ones"
    yield claim("bend", statement, measures.bend(config, every), ">=", n=max(1, len(of)), figure="frontier.png")
    statement = "loss at the learning rate of the width rule above the least at the rates beside it, worse of two sizes"
    yield claim("rate", statement, above_least(config, every), "<=", n=len(config.checked) * len(config.seeds), figure="rates.png")


def r_squared(least: Mapping[float, float]) -> float:
    """Of the line through the logs of budgets and their least losses; NaN with fewer than three, through which a line says nothing."""
    if len(least) < 3:
        return math.nan
    return fits.fit_power_law(np.array(list(least)), np.array(list(least.values()))).r_squared


def above_least(config: Config, every: Sequence[Run]) -> float:
    """Loss at the rule's learning rate above the least of all that were tried, means over seeds: the larger one of the two sizes."""
    gaps = []
    for size in config.checked:
        losses = {run.factor: run.loss for run in measures.chosen(every, rows.RATES) if run.size == size}
        gaps.append(losses.get(1.0, math.nan) - min(losses.values(), default=math.nan))
    return float(np.max(gaps))
