"""One program that trains all seeds by vmap, each as it would train alone. Also known as: ensemble training."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gendiff import training
from gendiff.core import records
from gendiff.core.types import Metrics, Params, PyTree
from gendiff.runs import training_loop
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, TrainState
from gendiff.training.compile_step import INIT, Step, TrainingState

Fresh = Callable[..., TrainingState]
"""(key, *arguments) -> the state before the first step."""


def compile_step(
    step: Step, fresh: Fresh, seeds: Sequence[int], mesh: jax.sharding.Mesh, arguments: tuple[PyTree, ...] = ()
) -> CompiledStep:
    """The compiled step that `training_loop.train` takes, for all seeds at once.

    step, fresh: of one seed. Every leaf of the state has an axis of seeds in front. The counts of steps have none: all
        seeds share them. A batch is (b, seeds, …), so that devices can share its rows. The start and the keys of a
        seed are those of key(seed); the key that the loop gives is not used. A seed may be there several times.
    arguments: trees of arrays (seeds, …). `fresh` gets each seed's row of them after its key.

    Metrics are means over the seeds whose step was finite, and `loss_S` and `generator_loss_S` are those of seed number
    S = 0, 1, … alone. A seed with a step that is not finite skips it, and the others go on: `stopped` counts such
    seeds, and `finite` is False where all are.
    """
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf)[1:], jnp.result_type(leaf)), arguments)
    axes = _axes(jax.eval_shape(fresh, jax.random.key(0), *rows))

    def start(key: jax.Array) -> TrainingState:
        del key
        keys = jnp.stack([jax.random.key(seed) for seed in seeds])
        return jax.vmap(fresh, out_axes=axes)(keys, *jax.tree.map(jnp.asarray, arguments))

    def advance(states: TrainingState, batch: PyTree) -> tuple[TrainingState, Metrics]:
        following, metrics = jax.vmap(step, in_axes=(axes, 1), out_axes=(axes, 0))(states, batch)
        return following, _merged(metrics)

    # products of many small matrices: up to 1.6 times as fast
    return training_loop.compile_step(advance, start, mesh, libraries=False)


def fresh(init: Callable[[jax.Array], Params], optimizer: optax.GradientTransformation) -> Fresh:
    """From the key of a seed to its state before the first step, without averages; init gets the key of
    `compile_step.INIT`.
    """

    def start(key: jax.Array) -> TrainState:
        return training.start(init(jax.random.fold_in(key, INIT)), optimizer, key, ema=())

    return start


def of_seed(params: Params, number: int) -> Params:
    """The parameters of one seed, by its place."""
    return jax.tree.map(lambda leaf: leaf[number], params)


def restore(
    fresh: Fresh,
    count: int,
    folder: RunFolder,
    *arguments: PyTree,
    seed: int,
    decay: float | None = None,
    averaged: bool = True,
) -> Params:
    """The averages of `count` seeds after their training, or the parameters where there are none; every leaf has an
    axis of seeds in front.

    fresh, arguments: of the training; only shapes count. seed: the first of the training. decay: as for
    `training_loop.restore_ema`, which says what is raised. averaged: False for the parameters themselves in place of
    their average.
    """

    def init(key: jax.Array) -> Params:
        return jax.vmap(lambda key: fresh(key, *arguments).ema)(jax.random.split(key, count))

    if not averaged:
        return training_loop.restore_params(init, folder, seed=seed)
    return training_loop.restore_ema(init, folder, seed=seed, decay=decay)


def _axes(state: TrainingState) -> PyTree:
    """0 for what each seed has of its own, None for counts of steps."""

    def one(node: PyTree) -> PyTree:
        return records.replace(jax.tree.map(lambda _: 0, node), step=None) if isinstance(node, TrainState) else 0

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
