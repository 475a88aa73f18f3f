"""One row of the sweep: a network trains with all seeds side by side, and its held-out loss is measured at each mark."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.scaling.scaling_train import horizon, pictures, rows, texts
from experiments.scaling.scaling_train.config import Config
from experiments.scaling.scaling_train.horizon import Horizon
from experiments.scaling.scaling_train.rows import PICTURES, SIDE, Row
from gendiff import networks, training
from gendiff.core.errors import NonFiniteError
from gendiff.core.types import Loss, Params
from gendiff.runs import devices, meshes, seeds_together, sweep, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.sweep import Shard
from gendiff.training import CompiledStep

LOG_EVERY = 100
"""Steps between lines of metrics, which go when the row is finished."""
TOGETHER = 64
"""Texts or pictures that are measured in one call."""


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every row."""
    compute(config, folder, progress, None)


def compute(config: Config, folder: RunFolder, progress: Progress, shard: Shard | None) -> None:
    """The rows of a shard; None: of all, those that other processes compute included."""
    sweep.run(rows.rows(config), functools.partial(train_row, config.checkpoint_every), folder, progress, shard)


def train_row(checkpoint_every: int, row: Row, folder: RunFolder, progress: Progress) -> list[dict[str, Any]]:
    """A line for each mark and seed, with the numbers that a scaling law is fitted to."""
    mesh, network = meshes.build(folder.mesh, ()), rows.network(row.kind, row.width, row.depth, row.length)
    programs, pace = _programs(network, row, mesh), _horizon(row)
    data = pictures if row.kind == PICTURES else texts
    own = programs._replace(fresh=lambda key: horizon.with_horizon(programs.fresh(key), pace))
    options: dict[str, Any] = {"checkpoint_every": checkpoint_every, "log_every": LOG_EVERY, "keep": 1}
    lines: list[dict[str, Any]] = []
    for mark in row.marks:
        kept = folder.path / f"mark_{mark}.json"
        if not kept.exists():
            batch = functools.partial(data.batch, row)
            state = training_loop.train(own, batch, seed=row.seeds[0], steps=mark, folder=folder, progress=progress, **options)
            json_files.write(kept, _lines(row, mark, measured(row, network, state.params)))
        lines += json_files.read(kept, list[dict[str, Any]])
    return lines


def measured(row: Row, network: Any, params: Params) -> np.ndarray:
    """(seeds,) held-out losses of parameters with an axis of seeds in front. The noise of a picture is the same for all networks.

    NonFiniteError where one is not finite.
    """
    held_out = (pictures if row.kind == PICTURES else texts).held_out(row)
    count = len(jax.tree.leaves(held_out)[0])
    size = min(TOGETHER, count)
    judge, found = _judge(_loss(network)), []
    for number, start in enumerate(range(0, count - size + 1, size)):  # a last part is left out, so that calls count alike
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + size], held_out)
        found.append(judge(params, jax.random.key(number), part))
    losses = np.mean(np.asarray(found, np.float64), 0)
    if not np.isfinite(losses).all():
        raise NonFiniteError(f"held-out losses of seeds {row.seeds} are {losses}")
    return losses


def _lines(row: Row, mark: int, losses: np.ndarray) -> list[dict[str, Any]]:
    cost = rows.cost_of(row)
    about = {
        "step": mark,
        "parameters": cost.parameters,
        "without_embeddings": cost.bare,
        "tokens": mark * cost.step_tokens,
        "flops": mark * cost.step_flops,
        "data": pictures.digest(row) if row.kind == PICTURES else texts.of(row).digest,
    }
    return [{"seed": seed, "loss": float(loss)} | about for seed, loss in zip(row.seeds, losses, strict=True)]


def _horizon(row: Row) -> Horizon:
    return Horizon(row.rate, max(1, round(row.warm_up * row.horizon)), row.horizon, row.final)


def _programs(network: Any, row: Row, mesh: jax.sharding.Mesh) -> CompiledStep:
    return _shared_programs(network, row.kind == PICTURES, row.seeds, row.weight_decay, row.clip, mesh)


@functools.lru_cache(maxsize=64)
def _shared_programs(
    network: Any, of_pictures: bool, seeds: tuple[int, ...], weight_decay: float, clip: float, mesh: jax.sharding.Mesh
) -> CompiledStep:
    """What all rows of a network run: their learning rates and numbers of steps are data."""
    optimizer = horizon.adamw(weight_decay, clip)
    example = (np.zeros((1, SIDE, SIDE, 3), np.float32), np.zeros(1, np.float32)) if of_pictures else (np.zeros((1, 2), np.int32),)
    fresh = seeds_together.fresh(lambda key: networks.init(network, key, *example), optimizer)
    return seeds_together.programs(training.make_step(_loss(network), optimizer), fresh, seeds, mesh)


def _loss(network: Any) -> Loss:
    return pictures.loss(network) if isinstance(network, networks.DiT) else texts.loss(network)


@functools.lru_cache(maxsize=64)
def _judge(loss: Loss) -> Any:
    """(parameters with an axis of seeds, key, texts or pictures) -> (seeds,) losses."""

    def one(params: Params, key: jax.Array, batch: Any) -> jax.Array:
        return jnp.asarray(loss(params, key, batch)[0])

    return devices.jit(jax.vmap(one, (0, None, None)))
