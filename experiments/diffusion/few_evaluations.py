"""What experiments on few evaluations share: ids, curves against evaluations, the norm of samples, learned levels,
pairs of a teacher.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gendiff.core.types import Params
from gendiff.diffusion import distillation, samplers
from gendiff.diffusion.distillation import Pairs
from gendiff.diffusion.learned.learned_grid import LEARNED, LearnedGrid
from gendiff.diffusion.types import Denoiser, Level
from gendiff.runs import devices, drawing
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.results import Figure

Curves = Mapping[str, Mapping[float, Sequence[float]]]
"""Of each method the numbers of the seeds at each number of evaluations."""
FRECHET = "Fréchet distance, in floors"
TITLE = (
    "Learned levels: mean squared distance of end points from those of a fine solution, on noise that was not "
    "learned from"
)
WORDS = {"fixed": "best fixed grid", "learned": "learned"}
"""What each of `errors` is."""


def word(method: str) -> str:
    """The name of a method as a part of an id."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in method.lower()).split())


def curves(
    values: Curves,
    reference: tuple[str, float],
    path: Path,
    caption: str,
    *,
    measure: str = FRECHET,
    log_y: bool = True,
) -> Figure:
    """A measure against evaluations, means over seeds in bands from the least to the largest, with the level of a
    reference.

    reference: its name and its number.
    """
    series = []
    for method, by_count in values.items():
        counts = sorted(by_count)
        series.append(
            figures.Curve(
                method, counts, *([reduce(by_count[count]) for count in counts] for reduce in (np.mean, min, max))
            )
        )
    caption = f"{caption}: means over seeds; bands reach from the least to the largest."
    x_label = "evaluations of the network per sample"
    return figures.curves(
        series, path, caption, x_label=x_label, y_label=measure, log_x=True, log_y=log_y, thresholds=[reference]
    )


def norm(samples: np.ndarray) -> float:
    """The root mean square of the norm of samples (n, …), as `grids.resolved` wants it."""
    return float(np.sqrt(np.mean(np.sum(np.square(samples.reshape(len(samples), -1)), axis=1))))


def pairs(
    key: jax.Array,
    built: Callable[[Params, Any], Denoiser],
    params: Params,
    condition: Any,
    levels: Level,
    shape: tuple[int, ...],
    **options: Any,
) -> Pairs:
    """What a teacher draws by UniPC of order 2, with the noise that it begins from and what it was told.

    built: (params, condition) -> the teacher. condition: a pytree of arrays with a row per pair. options: of
        `drawing.draw_all`.
    """
    leaves, structure = jax.tree.flatten(condition)

    def draw(params: Params, index: jax.Array, *leaves: jax.Array) -> Pairs:
        teacher = built(params, jax.tree.unflatten(structure, leaves))
        return distillation.draw_pairs(key, teacher, samplers.unipc(2), levels, shape, index)

    index = np.arange(len(leaves[0]), dtype=np.int32)
    pairs_of_index: Pairs = drawing.draw_all(functools.partial(devices.jit(draw), params), index, *leaves, **options)
    return dataclasses.replace(pairs_of_index, condition=(condition,))


def errors(grid: LearnedGrid) -> dict[str, float]:
    """By the names of `WORDS`: of the best fixed grid, and of the learned one."""
    values = {name: float(error) for name, error in grid.errors.items()}
    return {"fixed": min(error for name, error in values.items() if name != LEARNED), "learned": values[LEARNED]}
