"""One program that trains all seeds side by side, each as it would train alone."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.adversarial import samples_over_training
from experiments.adversarial.recipes import Recipe
from experiments.framework import meshes, training_loop
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.training import Programs, TrainState

Step = Callable[[Any, Any], tuple[Any, Metrics]]
Fresh = Callable[..., Any]
"""(key, *own) -> the state before the first step."""


def programs(step: Step, fresh: Fresh, seeds: Sequence[int], mesh: jax.sharding.Mesh, own: tuple[Any, ...] = ()) -> Programs:
    """What `training_loop.train_programs` runs for all seeds at once.

    step, fresh: of one seed. Every leaf of the state has an axis of seeds in front, but for the counts of steps, which all share. A batch
    is (b, seeds, …), so that devices can share its rows. The start and the keys of a seed are those of key(seed); the key that the loop
    gives is not used. A seed may be there several times. own: arrays (seeds, …) of which `fresh` gets each seed's row beside its key.

    Metrics are means over the seeds whose step was finite, and `loss_S` and `generator_loss_S` are those of seed number S = 0, 1, … alone.
    A seed with a step that is not finite skips it, and the others go on: `stopped` counts such seeds, and `finite` is False where all are.
    """
    axes = _axes(jax.eval_shape(fresh, jax.random.key(0), *(jnp.asarray(each)[0] for each in own)))

    def start(key: jax.Array) -> Any:
        del key
        return jax.vmap(fresh, out_axes=axes)(jnp.stack([jax.random.key(seed) for seed in seeds]), *map(jnp.asarray, own))

    def advance(states: Any, batch: Any) -> tuple[Any, Metrics]:
        following, metrics = jax.vmap(step, in_axes=(axes, 1), out_axes=(axes, 0))(states, batch)
        return following, _merged(metrics)

    return training_loop.own_programs(advance, start, mesh, libraries=False)  # products of many small matrices: up to 1.6 times as fast


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
    own: tuple[tuple[float, ...], ...] = (),
    **options: Any,
) -> None:
    """Trains all seeds from each share of `total` steps to the next, and keeps what is drawn there (see `samples_over_training`).

    data, options: of `training_loop.train_programs`. own: as for `programs`.
    """
    mesh = meshes.build(folder.mesh, ())
    run = _programs(recipe, seeds, own, mesh)

    def advance(share: float) -> Any:
        steps = samples_over_training.steps_at(share, total)
        return training_loop.train_programs(run, data, seed=seeds[0], steps=steps, folder=folder, progress=progress, mesh=mesh, **options)

    samples_over_training.train(folder, shares, advance, draw)


def restore(recipe: Recipe, count: int, folder: RunFolder, seed: int, *own: Any, averaged: bool = True) -> Params:
    """The parameters that samples are drawn from; every leaf has an axis of `count` seeds in front.

    seed: the first of the training. own: what `fresh` gets beside its key; only shapes count. averaged: False for the parameters
    themselves in place of their average. Raises as `training_loop.restore_ema` does.
    """

    def init(key: jax.Array) -> Params:
        return jax.vmap(lambda key: recipe.fresh(key, *own).ema)(jax.random.split(key, count))

    if not averaged:
        return training_loop.restore_params(init, folder, seed=seed)
    return training_loop.restore_ema(init, folder, seed=seed, decay=recipe.decay)


@functools.lru_cache(maxsize=32)
def _programs(recipe: Recipe, seeds: tuple[int, ...], own: tuple[tuple[float, ...], ...], mesh: jax.sharding.Mesh) -> Programs:
    return programs(recipe.step, recipe.fresh, seeds, mesh, tuple(np.array(each, np.float32) for each in own))


def _axes(state: Any) -> Any:
    """0 for what each seed has of its own, None for counts of steps."""

    def one(state: TrainState) -> TrainState:
        return records.replace(jax.tree.map(lambda _: 0, state), step=None)

    return jax.tree.map(one, state, is_leaf=lambda node: isinstance(node, TrainState))


def _merged(metrics: Metrics) -> Metrics:
    finite = metrics["finite"]
    means = {name: jnp.mean(value, where=finite) for name, value in metrics.items() if name != "finite"}
    alone = {
        f"{name}_{number}": metrics[name][number]
        for name in ("loss", "generator_loss")
        if name in metrics
        for number in range(finite.shape[0])
    }
    return means | alone | {"stopped": jnp.sum(~finite), "finite": jnp.any(finite)}
