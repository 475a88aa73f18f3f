"""What is measured of samples at several guidance scales: a sweep, its means, and its curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gendiff.runs.reporting import figures
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder

Rows = Mapping[str, np.ndarray]
"""Of each measure the rows whose mean it is; those of two sets of equal count belong to the same noise, image, prompt
or class.
"""


@dataclass(frozen=True)
class Sweep:
    """The rows of one rule. tables: of each measure and seed, (scales, rows), the same rows at every scale and in every
    rule.
    """

    scales: tuple[float, ...]
    tables: Mapping[str, tuple[np.ndarray, ...]]

    def at_scales(self, scales: Sequence[float]) -> "Sweep":
        """The same at some of its scales."""
        chosen = [self.scales.index(scale) for scale in scales]
        return Sweep(
            tuple(scales), {name: tuple(table[chosen] for table in tables) for name, tables in self.tables.items()}
        )

    def seed(self, number: int) -> "Sweep":
        """One seed alone, by its place."""
        return Sweep(self.scales, {name: (tables[number],) for name, tables in self.tables.items()})

    def followed_by(self, other: "Sweep") -> "Sweep":
        """This one's scales, then the other's."""
        pairs = {name: zip(tables, other.tables[name], strict=True) for name, tables in self.tables.items()}
        return Sweep(
            (*self.scales, *other.scales), {name: tuple(map(np.concatenate, each)) for name, each in pairs.items()}
        )

    def means(self) -> dict[str, np.ndarray]:
        """(scales,) of each measure, a mean over the seeds."""
        return {name: np.mean([table.mean(axis=1) for table in tables], axis=0) for name, tables in self.tables.items()}


def sweep(scales: Sequence[float], sets: Sequence[Sequence[Rows]]) -> Sweep:
    """sets: for each seed the rows at each scale."""
    tables = {name: tuple(np.stack([rows[name] for rows in of_seed]) for of_seed in sets) for name in sets[0][0]}
    return Sweep(tuple(scales), tables)


def curves(
    names: Mapping[str, str], folder: RunFolder, name: str, caption: str, sweeps: Mapping[str, Sweep], x_label: str
) -> Figure:
    """A panel per measure with a curve per sweep that has it; the bands reach from the least to the largest
    seed. names: of the panels.
    """
    panels = []
    for measure, title in names.items():
        lines = []
        for label, swept in sweeps.items():
            if measure in swept.tables:
                means = np.stack([table.mean(axis=1) for table in swept.tables[measure]])
                lines.append(
                    figures.Curve(
                        label, np.array(swept.scales), means.mean(axis=0), means.min(axis=0), means.max(axis=0)
                    )
                )
        panels.append(figures.Panel(title, lines))
    return figures.small_multiples(panels, folder.figure(name), caption, x_label=x_label)
