"""The small model of bytes: its first training, tuning on orders with responses, and the two tunings that go wrong."""

import functools
from typing import Any

import numpy as np
import optax

from experiments.preferences import stages
from experiments.preferences.instruct import orders
from experiments.preferences.instruct.config import Config
from gendiff import language, networks
from gendiff.commands.chat import models
from gendiff.core.types import Params
from gendiff.data import sums
from gendiff.language import objective
from gendiff.preferences import instruction
from gendiff.preferences.instruction import Rows
from gendiff.runs import meshes
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, optimizers

BASE, TUNED, SHUFFLED, ENDLESS = "base", "tuned", "shuffled", "endless"
TUNINGS = (TUNED, SHUFFLED, ENDLESS)
"""Tuning as it should be, on responses of other orders, and without loss on the end."""


def network(config: Config) -> networks.LanguageModel:
    """The network of all stages."""
    sizes: dict[str, Any] = {"width": config.width, "depth": config.depth, "heads": 4, "mlp_width": 2 * config.width}
    return networks.LanguageModel(vocabulary=orders.VOCABULARY, context=orders.LENGTH, positions="learned", **sizes)


def held_out(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """The orders that are judged, as (verbs (n,), pairs (n, 2)); the same ones for all seeds."""
    pairs = sums.held_out(orders.DIGITS, config.judged, seed=0)
    return np.arange(config.judged) % len(orders.VERBS), pairs


def examples(config: Config, name: str, seed: int) -> Rows:
    """Orders with responses, as a tuning of this name has them."""
    _, kept = held_out(config)
    rng = np.random.default_rng((seed, 2))
    pairs = sums.batch_at(orders.DIGITS, config.pairs, seed, 2**31 - 1, without=kept)
    verbs = rng.integers(len(orders.VERBS), size=config.pairs)
    asked, right = orders.orders(verbs, pairs), orders.responses(verbs, pairs)
    if name == SHUFFLED:
        right = np.roll(right, 1, 0)
    made = instruction.rows(asked.tolist(), right.tolist(), end=orders.END, length=orders.ORDER + orders.RESPONSE + 1)
    if name == ENDLESS:
        return Rows(made.tokens, np.where(made.tokens == orders.END, np.float32(0), made.weight))
    return made


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The first training, and each tuning from where it ended."""
    if not config.tiny:
        models.tokenizer()  # nothing is trained where the package of SmolLM2 is missing
    mesh, module = meshes.build(folder.mesh, ()), network(config)
    loss = objective.next_token(networks.pure(module))
    stage = functools.partial(_stage, config, folder, progress)
    stage(BASE, stages.first(module, loss, _adamw(config, BASE), config.seeds, mesh), functools.partial(documents_at, config))
    base = restore(config, folder, BASE)
    tuning = stages.following(base, loss, _adamw(config, TUNED), config.seeds, mesh)
    for name in TUNINGS:
        texts = [language.Texts(*examples(config, name, seed)) for seed in config.seeds]
        stage(name, tuning, functools.partial(stages.batch_at, texts, config.seeds, config.tuning_batch))


def documents_at(config: Config, step: int) -> language.Texts:
    """(batch, seeds, length) documents of a step."""
    _, kept = held_out(config)
    made = [orders.documents_at(config.batch, seed, step, without=kept) for seed in config.seeds]
    return language.Texts(np.stack(made, 1))


def restore(config: Config, folder: RunFolder, name: str) -> Params:
    """The parameters of a network by its name; every leaf has an axis of seeds in front."""
    return stages.restore(network(config), folder.inside(name), config.seeds)


def _stage(config: Config, folder: RunFolder, progress: Progress, name: str, run: CompiledStep, batch_at: Any) -> None:
    steps = config.train_steps if name == BASE else config.tuning_steps
    counts: dict[str, Any] = {"checkpoint_every": config.checkpoint_every, "log_every": config.log_every}
    stages.train(run, batch_at, steps=steps, seeds=config.seeds, folder=folder.inside(name), progress=progress, **counts)


def _adamw(config: Config, name: str) -> optax.GradientTransformation:
    numbers: dict[str, Any] = {"weight_decay": config.weight_decay, "clip": config.clip}
    if name == BASE:
        return optimizers.adamw(config.learning_rate, warmup=config.warmup, total=config.train_steps, **numbers)
    return optimizers.adamw(config.tuning_rate, warmup=0, total=config.tuning_steps, **numbers)
