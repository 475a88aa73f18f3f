"""The networks of documents: what each is and costs, and the training of each, all seeds of it by one program."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import optax

from experiments.multimodal import tasks
from experiments.multimodal.config import CAPTIONS, NETWORKS, SCENES, Config
from gendiff import networks, training
from gendiff.core.types import Loss, Params
from gendiff.diffusion import parameterization, samplers, schedules, weighting
from gendiff.pipelines import Multimodal, interleaved
from gendiff.runs import meshes, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import accounting
from gendiff.training import CompiledStep, TrainState, optimizers
from gendiff.training.compile_step import INIT

SCHEDULE, FORM = schedules.flow(), parameterization.flow()
"""The noise path, and what the output for a picture means."""
EMA = 0.995
"""Decay of the averages that are judged."""


def network(config: Config, name: str) -> networks.MultimodalTransformer:
    """The network of this name."""
    task = tasks.task_of(config, name)
    sizes: dict[str, Any] = {
        "width": config.width,
        "depth": config.depth,
        "heads": config.heads,
        "mlp_width": 2 * config.width,
    }
    return networks.MultimodalTransformer(vocabulary=len(task.words), context=256, patch=task.patch, **sizes)


def language(config: Config, name: str) -> networks.LanguageModel:
    """The language model of the same parameters."""
    network_of_all = network(config, name)
    names = [
        each.name
        for each in dataclasses.fields(networks.LanguageModel)
        if each.init and each.name not in ("parent", "name")
    ]
    return networks.LanguageModel(**{name: getattr(network_of_all, name) for name in names})


def model(config: Config, name: str) -> Multimodal:
    """What draws, writes and answers with the network."""
    return Multimodal(network(config, name), FORM, samplers.ddim(), SCHEDULE.clean)


def init(config: Config, name: str, key: jax.Array) -> Params:
    """Fresh parameters."""
    return networks.init(network(config, name), key, example(config, name, 1))


def example(config: Config, name: str, count: int) -> tuple[Any, ...]:
    """A picture and a text behind it, as a network reads them, of so many documents."""
    task = tasks.task_of(config, name)
    picture = networks.Picture(
        jax.ShapeDtypeStruct((count, *task.pictures.shape[1:]), np.float32), jax.ShapeDtypeStruct((count,), np.float32)
    )
    return picture, jax.ShapeDtypeStruct((count, task.texts.shape[1]), np.int32)


def loss(config: Config, name: str) -> Loss:
    """Next tokens and denoising; of the twin that only captions and of scenes, next tokens alone. Scenes have little
    noise.
    """
    weight = 0.0 if name == CAPTIONS or name in SCENES else config.picture_weight
    least = weighting.uniform_levels((0.0, 0.1)) if name in SCENES else None
    predict = networks.pure(network(config, name))
    return interleaved.next_token_and_denoising(predict, SCHEDULE, FORM, image_weight=weight, levels_before_text=least)


def steps(config: Config, name: str) -> int:
    """Of a training."""
    return config.scene_steps if name in SCENES else config.train_steps


@functools.lru_cache(maxsize=8)
def step_flops(config: Config, name: str) -> float:
    """Operations of a training step of one seed, by formula."""
    kinds = len(tasks.documents(dataclasses.replace(config, seeds=(0,)), name, 0))
    count = accounting.count(network(config, name), example(config, name, config.batch), embeddings=False)
    return float(kinds * count.training_flops)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each network after the other."""
    mesh = meshes.build(folder.mesh, ())
    for name in NETWORKS:
        progress.line(f"train {name}: {steps(config, name)} steps for {len(config.seeds)} seeds")
        training_loop.train(
            programs(config, name, mesh),
            functools.partial(tasks.documents, config, name),
            seed=config.seeds[0],
            steps=steps(config, name),
            folder=folder.inside(name),
            progress=progress,
        )


def programs(config: Config, name: str, mesh: jax.sharding.Mesh) -> CompiledStep:
    """What a training runs, for all seeds at once."""
    step = training.make_step(loss(config, name), _optimizer(config, name))
    return vmapped_seeds.compile_step(step, functools.partial(fresh, config, name), config.seeds, mesh)


def fresh(config: Config, name: str, key: jax.Array) -> TrainState:
    """The state of one seed before its training."""
    params = init(config, name, jax.random.fold_in(key, INIT))
    return training.start(params, _optimizer(config, name), key, ema=(EMA,))


def restore(config: Config, folder: RunFolder, name: str) -> Params:
    """The averages that are judged, with an axis of seeds in front. Raises as `training_loop.restore_ema` does."""
    start = functools.partial(fresh, config, name)
    return vmapped_seeds.restore(start, len(config.seeds), folder.inside(name), seed=config.seeds[0], decay=EMA)


def plan(config: Config, progress: Progress) -> None:
    """Prints the trainings and what they cost; trains nothing."""
    total = 0.0
    for name in NETWORKS:
        spent = len(config.seeds) * steps(config, name) * step_flops(config, name)
        total += spent
        progress.line(f"{name}: {steps(config, name)} steps, {spent:.3g} operations for {len(config.seeds)} seeds")
    progress.line(f"training takes {total:.3g} operations: {formatting.planned(total)}")


def _optimizer(config: Config, name: str) -> optax.GradientTransformation:
    """Muon for matrices and AdamW for all else."""
    total = steps(config, name)
    rate = config.scene_learning_rate if name in SCENES else config.learning_rate
    return optimizers.muon(
        rate, adam_learning_rate=rate / 10, clip=1.0, warmup=total // 20, total=total, weight_decay=0.01
    )
