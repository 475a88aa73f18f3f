"""What the ddim-steps experiment shows: Fréchet distance against evaluations, the same samples at fewer and fewer steps, and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.diffusion.ddim_steps.config import Config
from experiments.diffusion.ddim_steps.draw import DDIM, DDPM, FEW, DrawMethod, Set
from experiments.diffusion.ddim_steps.equivalence import Difference
from experiments.diffusion.image_judge import MeasuredSet
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures
from experiments.reporting.results import Figure, Table

SHOWN = (5, 10, 20, 50, 1000)
"""Steps of the rows of the picture, as far as they were drawn."""


@dataclass(frozen=True)
class Row:
    """One set, its measures, and the seconds that one call took."""

    set: Set
    measured: MeasuredSet
    seconds: float


def pictures(config: Config, folder: RunFolder, drawn: Mapping[Set, np.ndarray], seed: int) -> list[Figure]:
    """Samples 0 … 9 of one seed by DDIM, one number of steps per row."""
    shown = [steps for steps in sorted(config.steps) if steps in SHOWN]
    figures.grid(np.concatenate([drawn[Set(seed, DDIM, steps)][:10] for steps in shown]), 10, folder.figure("same_samples"))
    steps = ", ".join(f"{each:,}" for each in shown)
    return [Figure("same_samples.png", f"The same ten samples by DDIM, one row for each number of steps: {steps}.")]


def plots(config: Config, folder: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    """Fréchet distance in floors against evaluations: the two chains, and the samplers of few steps."""
    all_steps, margin = max(config.steps), config.thresholds.equivalence
    reference = np.mean([row.measured.frechet[0] for row in rows if row.set.method == DDIM and row.set.steps == all_steps])
    labels: Any = {"x_label": "evaluations of the network per sample", "y_label": "Fréchet distance, in floors"}
    name = f"DDIM in {all_steps:,} steps ± {100 * margin:g} %"
    for file, methods, most in (
        ("steps", (DDPM, DDIM), all_steps),
        ("few_steps", tuple(FEW[name] for name in config.few), max(config.budgets)),
    ):
        curves = [_curve(method, [row for row in rows if row.set.method == method and row.set.evaluations <= most]) for method in methods]
        ends = np.array([min(curve.x.min() for curve in curves), max(curve.x.max() for curve in curves)], np.float64)
        level = np.full(2, reference)
        band = figures.Curve(name, ends, level, level * (1 - margin), level * (1 + margin))
        figures.curves([*curves, band], folder.figure(file), log_x=True, log_y=True, **labels)
    return [
        Figure("steps.png", "Fréchet distance of DDPM and DDIM against evaluations; bands reach from the least to the largest seed."),
        Figure("few_steps.png", "The same for samplers made for few steps, each at most at its budget of evaluations."),
    ]


def tables(config: Config, rows: Sequence[Row], differences: Mapping[tuple[int, str], Difference]) -> tuple[Table, ...]:
    """Every number of every set, and every difference with its sign."""
    columns = ("set", "grid", "steps", "evaluations", "Fréchet / floor", "judge", "precision", "recall", f"seconds for {config.together}")
    lines = []
    for row in rows:
        of = row.measured
        about = (row.set.name, row.set.method.grid, row.set.steps, row.set.evaluations)
        lines.append((*about, of.frechet, of.accuracy, of.precision, of.recall, round(row.seconds, 3)))
    signed = tuple((f"seed {seed}, {id}", (of.value, of.low, of.high)) for (seed, id), of in differences.items())
    return (
        Table(f"Every set of {config.samples:,} samples against the held-out digits", columns, tuple(lines)),
        Table("Fréchet distances compared, paired by sample: (F - F of all steps) / F of all steps, 90 % intervals", ("test", "d"), signed),
    )


def _curve(method: DrawMethod, rows: Sequence[Row]) -> figures.Curve:
    """Mean, least and largest over the seeds, at each number of evaluations."""
    evaluations = np.array(sorted({row.set.evaluations for row in rows}))
    values = [[row.measured.frechet[0] for row in rows if row.set.evaluations == count] for count in evaluations]
    mean, low, high = (np.array([reduce(each) for each in values]) for reduce in (np.mean, np.min, np.max))
    return figures.Curve(method.name, evaluations, mean, low, high)
