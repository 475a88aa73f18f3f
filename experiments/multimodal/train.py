"""The training of each network, all seeds of it by one program."""

import functools
from typing import Any

import jax
import optax

from experiments.multimodal import documents, tasks
from experiments.multimodal.config import NETWORKS, Config
from gendiff import training
from gendiff.core.types import Params
from gendiff.runs import meshes, seeds_together, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, TrainState, optimizers
from gendiff.training.compile_step import INIT


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each network after the other."""
    mesh = meshes.build(folder.mesh, ())
    for name in NETWORKS:
        steps = documents.steps(config, name)
        progress.line(f"train {name}: {steps} steps for {len(config.seeds)} seeds")
        training_loop.train(
            programs(config, name, mesh),
            functools.partial(tasks.documents, config, name),
            seed=config.seeds[0],
            steps=steps,
            folder=folder.inside(name),
            progress=progress,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
        )


def programs(config: Config, name: str, mesh: jax.sharding.Mesh) -> CompiledStep:
    """What a training runs, for all seeds at once."""
    step = training.make_step(documents.loss(config, name), _optimizer(config, name))
    return seeds_together.programs(step, functools.partial(fresh, config, name), config.seeds, mesh)


def fresh(config: Config, name: str, key: jax.Array) -> TrainState:
    """The state of one seed before its training."""
    params = documents.init(config, name, jax.random.fold_in(key, INIT))
    return training.start(params, _optimizer(config, name), key, ema=(config.ema,))


def restore(config: Config, folder: RunFolder, name: str) -> Params:
    """The averages that are judged, with an axis of seeds in front. Raises as `training_loop.restore_ema` does."""
    start = functools.partial(fresh, config, name)
    return seeds_together.restore(start, len(config.seeds), folder.inside(name), seed=config.seeds[0], decay=config.ema)


def plan(config: Config, progress: Progress) -> None:
    """Prints the trainings and what they cost; trains nothing."""
    total = 0.0
    for name in NETWORKS:
        spent = len(config.seeds) * documents.steps(config, name) * documents.step_flops(config, name)
        total += spent
        progress.line(f"{name}: {documents.steps(config, name)} steps, {spent:.3g} operations for {len(config.seeds)} seeds")
    progress.line(f"training takes {total:.3g} operations: {formatting.planned(total)}")


def _optimizer(config: Config, name: str) -> optax.GradientTransformation:
    total = documents.steps(config, name)
    numbers: dict[str, Any] = {"warmup": int(config.warmup * total), "total": total, "weight_decay": config.weight_decay}
    return optimizers.muon(config.learning_rate, adam_learning_rate=config.adam_learning_rate, clip=config.clip, **numbers)
