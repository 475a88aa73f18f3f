"""Trainings that follow each other in one run, each from the parameters of the one before, all seeds of a stage by one
program.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax

from gendiff import networks, training
from gendiff.core.types import Params
from gendiff.data import batches
from gendiff.runs import training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, TrainState


def fresh(
    network: networks.LanguageModel, optimizer: optax.GradientTransformation
) -> Callable[[jax.Array], TrainState]:
    """From the key of a seed to the state of the first stage."""
    return vmapped_seeds.fresh(lambda key: networks.init(network, key, np.zeros((1, 2), np.int32)), optimizer)


def first(
    network: networks.LanguageModel,
    loss: Any,
    optimizer: optax.GradientTransformation,
    seeds: Sequence[int],
    mesh: jax.sharding.Mesh,
) -> CompiledStep:
    """The programs of the first stage."""
    return vmapped_seeds.compile_step(training.make_step(loss, optimizer), fresh(network, optimizer), seeds, mesh)


def following(
    params: Params, loss: Any, optimizer: optax.GradientTransformation, seeds: Sequence[int], mesh: jax.sharding.Mesh
) -> CompiledStep:
    """The programs of a stage that begins with these parameters, whose leaves have an axis of seeds in front."""
    leaves, structure = jax.tree.flatten(params)

    def start(key: jax.Array, *by_seed: jax.Array) -> TrainState:
        return training.start(jax.tree.unflatten(structure, by_seed), optimizer, key, ema=())

    return vmapped_seeds.compile_step(training.make_step(loss, optimizer), start, seeds, mesh, tuple(leaves))


def batch_at(of_seeds: Sequence[Any], seeds: Sequence[int], batch: int, step: int) -> Any:
    """(batch, seeds, …) rows of a step, from the rows of each seed, which may differ in number: a function of (seed,
    step).
    """
    batches_of_seeds = []
    for seed, data in zip(seeds, of_seeds, strict=True):
        rows = batches.batch_at(len(jax.tree.leaves(data)[0]), batch, seed, step)
        batches_of_seeds.append(jax.tree.map(lambda leaf, rows=rows: leaf[rows], data))
    return jax.tree.map(lambda *leaves: np.stack(leaves, 1), *batches_of_seeds)


def train(
    run: CompiledStep,
    batch_at: Callable[[int], Any],
    *,
    steps: int,
    seeds: Sequence[int],
    folder: RunFolder,
    progress: Progress,
    checkpoint_every: int = 200,
    **options: Any,
) -> None:
    """Train a stage, or what is left of it, in a folder of its own. options: of `training_loop.train`."""
    progress.line(f"train {folder.path.name}")
    options |= {"seed": seeds[0], "steps": steps, "checkpoint_every": checkpoint_every}
    training_loop.train(run, batch_at, folder=folder, progress=progress, **options)


def restore(network: networks.LanguageModel, folder: RunFolder, seeds: Sequence[int]) -> Params:
    """The parameters of a stage; every leaf has an axis of seeds in front. Raises as `training_loop.restore_ema`
    does.
    """
    start = fresh(network, optax.identity())  # only shapes of parameters count
    return vmapped_seeds.restore(start, len(seeds), folder, seed=seeds[0])
