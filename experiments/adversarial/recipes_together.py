"""All seeds of a recipe by one program, and what is drawn at places of their training."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.adversarial import samples_over_training
from experiments.adversarial.recipes import Recipe
from gendiff.core.types import Params
from gendiff.runs import meshes, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep


def train(
    recipe: Recipe,
    seeds: tuple[int, ...],
    data: Any,
    draw: Callable[[Any, float], Mapping[str, np.ndarray]],
    *,
    shares: Iterable[float],
    total: int,
    folder: RunFolder,
    progress: Progress,
    by_seed: tuple[tuple[float, ...], ...] = (),
    **options: Any,
) -> None:
    """Trains all seeds from each share of `total` steps to the next, and keeps what is drawn there (see
    `samples_over_training`).

    data, options: of `training_loop.train`. by_seed: as for `vmapped_seeds.compile_step`.
    """
    mesh = meshes.build(folder.mesh, ())
    run = _programs(recipe, seeds, by_seed, mesh)

    def advance(share: float) -> Any:
        steps = samples_over_training.steps_at(share, total)
        return training_loop.train(run, data, seed=seeds[0], steps=steps, folder=folder, progress=progress, **options)

    samples_over_training.train(folder, shares, advance, draw)


def restore(recipe: Recipe, count: int, folder: RunFolder, seed: int, *by_seed: Any, averaged: bool = True) -> Params:
    """The parameters that samples are drawn from, as `vmapped_seeds.restore` gives them."""
    return vmapped_seeds.restore(
        recipe.fresh, count, folder, *by_seed, seed=seed, decay=recipe.decay, averaged=averaged
    )


@functools.lru_cache(maxsize=32)
def _programs(
    recipe: Recipe, seeds: tuple[int, ...], by_seed: tuple[tuple[float, ...], ...], mesh: jax.sharding.Mesh
) -> CompiledStep:
    return vmapped_seeds.compile_step(
        recipe.step, recipe.fresh, seeds, mesh, tuple(np.array(each, np.float32) for each in by_seed)
    )
