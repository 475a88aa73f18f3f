"""One row of the sweep: a network trains with all seeds side by side, and its held-out loss is measured at each
mark.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.scaling.scaling_train import pictures, rows, texts
from experiments.scaling.scaling_train.rows import PICTURES, SIDE, Config, Row
from gendiff import networks, training
from gendiff.core import records
from gendiff.core.errors import NonFiniteError
from gendiff.core.types import Loss, Params
from gendiff.runs import devices, meshes, sweep, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.sweep import Shard
from gendiff.training import CompiledStep, TrainState, optimizers

LOG_EVERY, CHECKPOINT_EVERY = 100, 2000
"""Steps between lines of metrics, which go when the row is finished, and between checkpoints."""
TOGETHER = 64
"""Texts or pictures that are measured in one call."""


class Horizon(NamedTuple):
    """A learning rate that rises over `warmup` steps to `peak`, and falls along a cosine to `final` · peak at step
    `total`.
    """

    peak: Any
    warmup: Any
    total: Any
    final: Any

    def rate(self, step: Any) -> jax.Array:
        """The rate of step 0, 1, …, as `optimizers.warm_up_then` has it."""
        done = jnp.clip((step - self.warmup) / jnp.maximum(self.total - self.warmup, 1.0), 0.0, 1.0)
        falling = self.final + (1.0 - self.final) * 0.5 * (1.0 + jnp.cos(math.pi * done))
        return jnp.asarray(
            self.peak * jnp.where(step < self.warmup, (step + 1.0) / jnp.maximum(self.warmup, 1.0), falling)
        )


class Followed(NamedTuple):
    """The state of the last part of the optimizer: steps done, and the horizon."""

    steps: jax.Array
    horizon: Horizon


def adamw(weight_decay: float, clip: float) -> optax.GradientTransformation:
    """`optimizers.adamw` with a horizon in its state, which is nothing until `with_horizon` has given one."""
    return optax.chain(
        optax.clip_by_global_norm(clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(weight_decay, mask=optimizers.decayed),
        optax.GradientTransformation(_start, _follow),
    )


def with_horizon(state: TrainState, horizon: Horizon) -> TrainState:
    """The state of one seed, or of several, whose learning rate follows this horizon."""

    def one(part: Any) -> Any:
        return (
            part._replace(horizon=jax.tree.map(jnp.full_like, part.horizon, horizon))
            if isinstance(part, Followed)
            else part
        )

    parts = jax.tree.map(one, state.optimizer_state, is_leaf=lambda part: isinstance(part, Followed))
    return records.replace(state, optimizer_state=parts)


def _start(params: Any) -> Followed:
    del params
    return Followed(jnp.zeros((), jnp.int32), Horizon(*(jnp.zeros(()) for _ in Horizon._fields)))


def _follow(updates: Any, state: Followed, params: Any = None) -> tuple[Any, Followed]:
    del params
    rate = state.horizon.rate(state.steps)
    return jax.tree.map(lambda each: -rate.astype(each.dtype) * each, updates), state._replace(steps=state.steps + 1)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every row."""
    compute(config, folder, progress, None)


def compute(config: Config, folder: RunFolder, progress: Progress, shard: Shard | None) -> None:
    """The rows of a shard; None: of all, those that other processes compute included."""
    sweep.run(rows.rows(config), train_row, folder, progress, shard)


def train_row(row: Row, folder: RunFolder, progress: Progress) -> list[dict[str, Any]]:
    """A line for each mark and seed, with the numbers that a scaling law is fitted to."""
    mesh, network = meshes.build(folder.mesh, ()), rows.network(row.kind, row.width, row.depth, row.length)
    programs, pace = _programs(network, row, mesh), _horizon(row)
    data = pictures if row.kind == PICTURES else texts
    with_pace = programs._replace(fresh=lambda key: with_horizon(programs.fresh(key), pace))
    options: dict[str, Any] = {"checkpoint_every": CHECKPOINT_EVERY, "log_every": LOG_EVERY, "keep": 1}
    lines: list[dict[str, Any]] = []
    for mark in row.marks:
        mark_file = folder.path / f"mark_{mark}.json"
        if not mark_file.exists():
            batch = functools.partial(data.batch, row)
            state = training_loop.train(
                with_pace, batch, seed=row.seeds[0], steps=mark, folder=folder, progress=progress, **options
            )
            json_files.write(mark_file, _lines(row, mark, measured(row, network, state.params)))
        lines += json_files.read(mark_file, list[dict[str, Any]])
    return lines


def measured(row: Row, network: Any, params: Params) -> np.ndarray:
    """(seeds,) held-out losses of parameters with an axis of seeds in front. The noise of a picture is the same for all
    networks.

    NonFiniteError where one is not finite.
    """
    held_out = (pictures if row.kind == PICTURES else texts).held_out(row)
    count = len(jax.tree.leaves(held_out)[0])
    size = min(TOGETHER, count)
    judge, parts = _judge(_loss(network)), []
    # a last part is left out, so that calls count alike
    for number, start in enumerate(range(0, count - size + 1, size)):
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + size], held_out)
        parts.append(judge(params, jax.random.key(number), part))
    losses = np.mean(np.asarray(parts, np.float64), 0)
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
        "data": pictures.digest(row) if row.kind == PICTURES else texts.corpus_of(row).digest,
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
    optimizer = adamw(weight_decay, clip)
    example = (
        (np.zeros((1, SIDE, SIDE, 3), np.float32), np.zeros(1, np.float32))
        if of_pictures
        else (np.zeros((1, 2), np.int32),)
    )
    fresh = vmapped_seeds.fresh(lambda key: networks.init(network, key, *example), optimizer)
    return vmapped_seeds.compile_step(training.make_step(_loss(network), optimizer), fresh, seeds, mesh)


def _loss(network: Any) -> Loss:
    return pictures.loss(network) if isinstance(network, networks.DiT) else texts.loss(network)


@functools.lru_cache(maxsize=64)
def _judge(loss: Loss) -> Any:
    """(parameters with an axis of seeds, key, texts or pictures) -> (seeds,) losses."""

    def one(params: Params, key: jax.Array, batch: Any) -> jax.Array:
        return jnp.asarray(loss(params, key, batch)[0])

    return devices.jit(jax.vmap(one, (0, None, None)))
