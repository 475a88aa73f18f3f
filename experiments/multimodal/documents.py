"""The networks of documents: what each is, what it is trained by, and the operations of a step."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from experiments.multimodal import tasks
from experiments.multimodal.config import CAPTIONS, SCENES, Config
from gendiff import networks
from gendiff.core.types import Loss, Params
from gendiff.diffusion import parameterization, samplers, schedules, weighting
from gendiff.pipelines import Multimodal, interleaved
from gendiff.scaling import accounting

SCHEDULE, FORM = schedules.flow(), parameterization.flow()
"""The noise path, and what the output for a picture means."""


def network(config: Config, name: str) -> networks.MultimodalTransformer:
    """The network of this name."""
    task = tasks.of(config, name)
    sizes: dict[str, Any] = {"width": config.width, "depth": config.depth, "heads": config.heads, "mlp_width": 2 * config.width}
    return networks.MultimodalTransformer(vocabulary=len(task.words), context=256, patch=task.patch, **sizes)


def language(config: Config, name: str) -> networks.LanguageModel:
    """The language model of the same parameters."""
    whole = network(config, name)
    return networks.LanguageModel(**{each.name: getattr(whole, each.name) for each in _own_fields()})


def model(config: Config, name: str) -> Multimodal:
    """What draws, writes and answers with the network."""
    return Multimodal(network(config, name), FORM, samplers.ddim(), SCHEDULE.clean)


def init(config: Config, name: str, key: jax.Array) -> Params:
    """Fresh parameters."""
    return networks.init(network(config, name), key, example(config, name, 1))


def example(config: Config, name: str, count: int) -> tuple[Any, ...]:
    """A picture and a text behind it, as a network reads them, of so many documents."""
    task = tasks.of(config, name)
    picture = networks.Picture(
        jax.ShapeDtypeStruct((count, *task.pictures.shape[1:]), np.float32), jax.ShapeDtypeStruct((count,), np.float32)
    )
    return picture, jax.ShapeDtypeStruct((count, task.texts.shape[1]), np.int32)


def loss(config: Config, name: str) -> Loss:
    """Next tokens and denoising; of the twin that only captions, next tokens alone. Scenes have little noise."""
    weight = {CAPTIONS: 0.0, SCENES: config.scene_weight}.get(name, config.picture_weight)
    least = weighting.uniform_levels((0.0, config.scene_noise)) if name == SCENES else None
    predict = networks.pure(network(config, name))
    return interleaved.next_token_and_denoising(predict, SCHEDULE, FORM, picture_weight=weight, levels_before_text=least)


def steps(config: Config, name: str) -> int:
    """Of a training."""
    return config.scene_steps if name == SCENES else config.train_steps


@functools.lru_cache(maxsize=8)
def step_flops(config: Config, name: str) -> float:
    """Operations of a training step of one seed, by formula."""
    kinds = len(tasks.documents(dataclasses.replace(config, seeds=(0,)), name, 0))
    count = accounting.count(network(config, name), example(config, name, config.batch), embeddings=False)
    return float(kinds * count.training_flops)


def _own_fields() -> tuple[Any, ...]:
    return tuple(each for each in dataclasses.fields(networks.LanguageModel) if each.init and each.name not in ("parent", "name"))
