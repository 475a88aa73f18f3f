"""What the run shows beside its claims: losses at equal operations, frontiers, the fitted surface, learning rates, and tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.scaling.scaling_train import measures, rows
from experiments.scaling.scaling_train.config import Config
from experiments.scaling.scaling_train.measures import Run
from gendiff.commands.scaling_fit import loss_plots
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import fits
from gendiff.scaling.fits import ParametricFit
from gendiff.scaling.laws import Frontier

PARAMETERS, OPERATIONS = "parameters", "operations of training"


def every(config: Config, folder: RunFolder, found: Sequence[Run]) -> tuple[Figure, ...]:
    """All figures that are more than the tables hold."""
    return _frontier(found, folder), _surface(measures.chosen(found, rows.MATCHED), folder), _rates(config, found, folder)


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """Losses at equal operations, with a parabola for each budget: text by both protocols, and pictures."""
    captions = {
        ("isoflop", rows.TEXT, rows.MATCHED): (
            "Held-out loss of language models at equal operations, a learning rate that falls until the end of each training: means of "
            "seeds."
        ),
        ("isoflop_fixed", rows.TEXT, rows.FIXED): "The same by Kaplan's protocol: one horizon for all, losses read on the way.",
        ("pictures", rows.PICTURES, rows.MATCHED): "Held-out error of diffusion transformers at equal operations: means of seeds.",
    }
    trained, shown = next(table for table in tables if table.title.startswith("Every training")), []
    numbers = [trained.columns.index(name) for name in (PARAMETERS, "tokens", "loss", "operations")]
    for (file, kind, protocol), caption in captions.items():
        chosen = [[row[number] for number in numbers] for row in trained.rows if row[0] == f"{kind}, {protocol}"]
        numbers_of = np.array(chosen, np.float64).reshape(-1, len(numbers))
        finite = numbers_of[np.isfinite(numbers_of).all(1)].T
        try:
            points = fits.points(*finite)
            shown.append(loss_plots.isoflop(points, fits.fit_isoflop(points), folder.figure(file), caption))
        except ValueError:
            shown.append(_plain(finite[0], finite[2], folder, file, caption))
    return tuple(shown)


def tables(config: Config, found: Sequence[Run]) -> tuple[Table, ...]:
    """Exponents by protocol, minima by budget, constants of the surface, and every run."""
    return _exponents(config, found), _minima(found), _constants(found), _runs(found)


def parametric(of: Sequence[Run]) -> ParametricFit | None:
    """Approach 3 on means over seeds; None where there are too few runs, or the loss does not fall with both."""
    try:
        return fits.fit_parametric(measures.table(of))
    except ValueError:
        return None


def _surface(of: Sequence[Run], folder: RunFolder) -> Figure:
    caption = "The surface E + A / N^α + B / D^β fitted to all runs of matched horizons, dots, and the best size of every budget."
    fit = parametric(of)
    if fit is None:
        sizes, losses = ([run.cost.parameters for run in of], [run.loss for run in of])
        return _plain(np.array(sizes), np.array(losses), folder, "surface", caption)
    points = measures.table(of)
    return loss_plots.surface(fit.law, folder.figure("surface"), caption, optima={"best size": fit.law}, points=points)


def _plain(sizes: np.ndarray, losses: np.ndarray, folder: RunFolder, name: str, caption: str) -> Figure:
    """Losses alone, where nothing could be fitted."""
    order = np.argsort(sizes, kind="stable")
    curve = Curve("trainings", sizes[order], losses[order]) if order.size else Curve("no run", [1.0], [1.0])
    return figures.curves([curve], folder.figure(name), caption, x_label=PARAMETERS, y_label="loss", log_x=True)


def _frontier(found: Sequence[Run], folder: RunFolder) -> Figure:
    curves = []
    for protocol in (rows.MATCHED, rows.FIXED):
        of = measures.chosen(found, protocol)
        for embeddings, words in ((True, "all parameters"), (False, "without embeddings")):
            fit = measures.minima(of, embeddings=embeddings)
            if fit is not None:
                curves.append(Curve(f"{protocol}, {words}", fit.budgets[fit.interior], fit.minima[fit.interior]))
    shown = curves or [Curve("no minimum inside", [1.0], [1.0])]
    caption = "The size of least loss at each budget, by protocol and by what is counted as a parameter."
    return figures.curves(shown, folder.figure("frontier"), caption, x_label=OPERATIONS, y_label=PARAMETERS, log_x=True, log_y=True)


def _rates(config: Config, found: Sequence[Run], folder: RunFolder) -> Figure:
    curves = []
    for size in config.checked:
        of = sorted((run for run in measures.chosen(found, rows.RATES) if run.size == size), key=lambda run: run.factor)
        losses = np.array([run.losses for run in of]).reshape(len(of), -1)
        label = f"width {config.text.widths[size]}, {config.text.depths[size]} blocks"
        curves.append(Curve(label, [run.factor for run in of], losses.mean(1), losses.min(1), losses.max(1)))
    caption = "Held-out loss against the learning rate over that of the width rule: means of seeds, and the least and the largest."
    shown = curves if any(curve.finite.size for curve in curves) else [Curve("no run", [1.0], [1.0])]
    return figures.curves(shown, folder.figure("rates"), caption, x_label="learning rate over that of the rule", y_label="loss", log_x=True)


def _exponents(config: Config, found: Sequence[Run]) -> Table:
    text, fixed = (measures.chosen(found, protocol) for protocol in (rows.MATCHED, rows.FIXED))
    pictures = measures.chosen(found, rows.MATCHED, rows.PICTURES)
    lines: list[tuple[Any, ...]] = []
    for of, words in ((text, "text, matched horizons"), (fixed, "text, fixed horizon, early stops")):
        for embeddings, counted in ((True, "all"), (False, "without embeddings")):
            lines.append((words, counted, "2: parabolas", measures.exponent_of(config, of, embeddings=embeddings)))
    fit = parametric(text)
    law = float("nan") if fit is None else float(fit.law.exponent)
    lines.append(("text, matched horizons", "all", "3: surface", law))
    lines.append(("text, matched horizons", "all", "1: envelope", _envelope(text)))
    lines.append(("pictures, matched horizons", "all", "2: parabolas", measures.exponent_of(config, pictures)))
    note = (
        "Intervals are of resamples that take one seed per run and leave out one size. They hold the noise of seeds and the choice of "
        "sizes, not what a longer sweep would change. Nothing here claims that an exponent is 0.5."
    )
    columns = ("trainings", "parameters counted", "approach", "exponent of the best size")
    return Table("How the best size grows with the operations: N ∝ C^a.", columns, tuple(lines), note, main=True)


def _envelope(of: Sequence[Run]) -> float:
    try:
        envelope: Frontier = fits.fit_envelope(measures.table(of))
    except ValueError:
        return float("nan")
    return float(envelope.exponent)


def _minima(found: Sequence[Run]) -> Table:
    lines: list[tuple[Any, ...]] = []
    for kind, protocol in ((rows.TEXT, rows.MATCHED), (rows.TEXT, rows.FIXED), (rows.PICTURES, rows.MATCHED)):
        of = measures.chosen(found, protocol, kind)
        fit = measures.minima(of)
        if fit is None:
            continue
        for number, budget in enumerate(fit.budgets):
            size, inside = float(fit.minima[number]), bool(fit.interior[number])
            tokens = _tokens_at(of, float(budget), size)
            lines.append((f"{kind}, {protocol}", float(budget), size, tokens / size, float(fit.losses[number]), inside))
    columns = ("trainings", OPERATIONS, "best size", "tokens per parameter", "loss there", "inside")
    return Table("The best size of each budget, by parabolas through means of seeds.", columns, tuple(lines))


def _tokens_at(of: Sequence[Run], budget: float, size: float) -> float:
    """Tokens of a size at a budget, between those of the runs: operations per token grow smoothly with the size."""
    near = sorted((run for run in of if abs(np.log(run.budget / budget)) < 0.2), key=lambda run: run.cost.parameters)
    sizes, tokens = np.log([run.cost.parameters for run in near]), np.log([run.tokens for run in near])
    return float(np.exp(np.interp(np.log(size), sizes, tokens)))


def _constants(found: Sequence[Run]) -> Table:
    lines: list[tuple[Any, ...]] = []
    for kind in (rows.TEXT, rows.PICTURES):
        fit = parametric(measures.chosen(found, rows.MATCHED, kind))
        if fit is not None:
            law = fit.law
            numbers = (law.floor, law.of_parameters, law.of_tokens, law.alpha, law.beta)
            lines.append((kind, *map(float, numbers), bool(fit.converged)))
    columns = ("data", "E", "A", "B", "α", "β", "converged")
    return Table("E + A / N^α + B / D^β fitted to means of seeds, all parameters counted.", columns, tuple(lines))


def _runs(found: Sequence[Run]) -> Table:
    lines = []
    for run in sorted(found, key=lambda run: (run.protocol, run.kind, run.budget, run.factor, run.size)):
        about = (f"{run.kind}, {run.protocol}", run.factor, run.cost.parameters, run.cost.bare, run.tokens)
        lines.append((*about, run.flops, run.steps, run.loss, float(np.ptp(run.losses)), run.seconds))
    columns = (
        "trainings",
        "rate factor",
        PARAMETERS,
        "without embeddings",
        "tokens",
        "operations",
        "steps",
        "loss",
        "span of seeds",
        "seconds",
    )
    return Table("Every training: means of seeds; seconds are those of all seeds.", columns, tuple(lines))
