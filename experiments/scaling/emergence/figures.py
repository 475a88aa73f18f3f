"""What the run shows: sharp and smooth metrics side by side, losses, sums by their carries, and a slider for the metric."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from experiments.scaling.emergence import findings, train
from experiments.scaling.emergence.config import SHUFFLED, Config
from experiments.scaling.emergence.findings import Found, Scores
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Axis, Explorer, Figure
from gendiff.runs.run_folder import RunFolder

SIZE = "parameters without tables"


@dataclass(frozen=True)
class Shown:
    """A metric: its name, its number, and whether its axis is logarithmic."""

    name: str
    of: Callable[[Scores], float]
    logarithmic: bool = False


NLL = Shown("NLL per digit, nats", findings.nll_per_digit, logarithmic=True)
METRICS = (
    Shown("exact match", findings.exact_match),
    Shown("chance of the whole answer", findings.chance),
    Shown("digit accuracy", findings.digit_accuracy),
    Shown("edit distance, digits", lambda of: float(of.edits.mean())),
    NLL,
    Shown("Brier score", lambda of: float(of.brier.mean())),
)
"""From the sharpest to smooth ones."""


def every(config: Config, folder: RunFolder, found: dict[str, Found]) -> tuple[Figure, ...]:
    """All figures."""
    return _metrics(config, folder, found), _losses(config, folder, found), *_carries(config, folder, found)


def by_metric(config: Config, folder: RunFolder, found: dict[str, Found]) -> Explorer:
    """Every metric over the sizes, seed by seed, by metric and kind of answers."""
    sizes = train.parameters(config)
    frames = [[_frame(config, sizes, metric, kind, found[kind]) for kind in config.formats] for metric in METRICS]
    axes = (Axis("metric", tuple(metric.name for metric in METRICS)), Axis("answers", config.formats))
    caption = "The same networks by other metrics: exact match jumps where the loss falls steadily. One curve per seed."
    return figures.explorer(np.array(frames)[:, :, None], axes, folder.figure("by_metric"), caption, colours=64)


def _frame(config: Config, sizes: np.ndarray, metric: Shown, kind: str, found: Found) -> np.ndarray:
    values = findings.table(found, metric.of)
    curves = [Curve(f"seed {seed}", sizes, values[:, number]) for number, seed in enumerate(config.seeds)]
    title = f"{metric.name}, {kind} answers"
    return figures.framed(curves, title, x_label=SIZE, y_label=metric.name, log_x=True, log_y=metric.logarithmic)


def _metrics(config: Config, folder: RunFolder, found: dict[str, Found]) -> Figure:
    panels = [Panel(metric.name, [_curve(config, kind, found[kind], metric) for kind in found]) for metric in METRICS]
    caption = f"Metrics of {config.judged} held-out sums over the sizes: means over seeds, with the least and the largest seed."
    return figures.small_multiples(panels, folder.figure("metrics"), caption, x_label=SIZE, columns=2, log_x=True)


def _losses(config: Config, folder: RunFolder, found: dict[str, Found]) -> Figure:
    sizes = train.parameters(config)
    series = [_curve(config, kind, found[kind], NLL) for kind in found]
    for kind in config.formats:
        mean = findings.table(found[kind], NLL.of).mean(1)
        slope, start = np.polyfit(np.log(sizes), np.log(mean), 1)
        series.append(Curve(f"{kind}, straight line", sizes, np.exp(start + slope * np.log(sizes))))
    caption = "Loss over the sizes in logarithms, with the straight line that the metric hypothesis takes for it."
    return figures.curves(series, folder.figure("losses"), caption, x_label=SIZE, y_label=NLL.name, log_x=True, log_y=True)


def _carries(config: Config, folder: RunFolder, found: dict[str, Found]) -> tuple[Figure, ...]:
    panels, sizes = [], train.parameters(config)
    of_kind = {
        kind: np.stack([findings.by_carries(config, found[kind], number) for number in range(len(config.seeds))], 2)
        for kind in config.formats
    }
    for number, count in enumerate(findings.carry_counts(config)):
        groups = {f"{kind} answers": values[:, number] for kind, values in of_kind.items()}
        curves = [Curve(label, sizes, group.mean(1), group.min(1), group.max(1)) for label, group in groups.items()]
        panels.append(Panel(f"{count} carries" if count != 1 else "1 carry", curves))
    caption = "Exact match of sums by how many carries they have: means over seeds, with the least and the largest seed."
    return (figures.small_multiples(panels, folder.figure("carries"), caption, x_label=SIZE, columns=2, log_x=True),)


def _curve(config: Config, kind: str, found: Found, metric: Shown) -> Curve:
    values = findings.table(found, metric.of)
    label = f"{kind} answers" if kind != SHUFFLED else "control: shuffled answers"
    return Curve(label, train.parameters(config), values.mean(1), values.min(1), values.max(1))
