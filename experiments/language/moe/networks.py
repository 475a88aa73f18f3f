"""The networks that are compared, their loss, and their training on rows of real text."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.language.moe.config import Config
from gendiff import language, networks, scaling
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.data import batches, text
from gendiff.networks import routing
from gendiff.networks.mixture_of_experts import Experts
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import optimizers

BALANCED, FREE, ACTIVE, TOTAL = "experts", "experts without balance", "dense, equal computation", "dense, equal parameters"
FOLDERS = {BALANCED: "experts", FREE: "free", ACTIVE: "active", TOTAL: "total"}


@records.record
class RoutedLoss:
    """Next-token loss of a network whose blocks may have routers: the mean of their balance losses is added with a weight."""

    predict: Any = records.static()
    weight: float = records.static()

    def __call__(self, params: Params, key: jax.Array, rows: jax.Array) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics for rows of tokens (b, s)."""
        answer = self.predict(params, rows[:, :-1])
        nll = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(answer.logits, rows[:, 1:]))
        if not answer.routing:
            return nll, {"nll": nll}
        balance = jnp.mean(routing.balance_loss(answer.routing))
        busiest = jnp.max(routing.load(answer.routing)) * answer.routing[0].logits.shape[-1]
        return nll + self.weight * balance, {"nll": nll, "balance": balance, "busiest": busiest}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of bytes (n, length + 1): to train on, and held-out ones."""

    train: np.ndarray
    held_out: np.ndarray


def rows(config: Config) -> Rows:
    """Whole documents of Python's manual are held out."""
    tokenizer = language.tokens.plain()
    end = tokenizer.size - 1
    parts = text.split(text.python_manual(), config.held_out, seed=0)
    cut = [text.rows([tokenizer.encode(each) for each in part.texts], config.length + 1, end) for part in parts]
    return Rows(cut[0], cut[1][: config.judged])


def network(config: Config, name: str) -> networks.LanguageModel:
    """One of the networks by its name. Each expert has an MLP as wide as a token."""
    routed = name in (BALANCED, FREE)
    each = {BALANCED: 1, FREE: 1, ACTIVE: config.top_k, TOTAL: config.experts}[name]
    return networks.LanguageModel(
        vocabulary=language.tokens.plain().size,
        context=config.length,
        width=config.width,
        depth=config.depth,
        heads=4,
        mlp_width=each * config.width,
        experts=Experts(config.experts, config.top_k) if routed else None,
    )


def loss(config: Config, name: str) -> RoutedLoss:
    """That of its training. Without balance the weight is 0, and the metrics are the same."""
    return RoutedLoss(networks.pure(network(config, name)), config.balance_weight if name == BALANCED else 0.0)


def init(config: Config, name: str) -> Callable[[jax.Array], Params]:
    """From a key to fresh parameters."""
    return _start(network(config, name))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every network with every seed, on the same rows."""
    data, optimizer = rows(config), _adamw(config)
    for name in FOLDERS:
        progress.line(f"train {name}")
        program = training_loop.compile_loss(loss(config, name), optimizer, init(config, name), folder, ema=(config.ema,))
        for seed in config.seeds:
            training_loop.train(
                program,
                functools.partial(_batch, data.train, config.batch, seed),
                seed=seed,
                steps=config.train_steps,
                folder=folder.inside(FOLDERS[name]),
                progress=progress,
                checkpoint_every=config.checkpoint_every,
                log_every=config.log_every,
            )


def restore(config: Config, folder: RunFolder, name: str, seed: int) -> Params:
    """The averaged parameters of one network."""
    return training_loop.restore_ema(init(config, name), folder.inside(FOLDERS[name]), seed=seed, decay=config.ema)


def operations(config: Config, name: str) -> float:
    """Forward operations per token, by the formula, attention to half of a row included."""
    of = network(config, name)
    sizes = of.vocabulary, of.width, of.depth, of.heads, of.width // of.heads, of.mlp_width or 0
    routed: dict[str, Any] = {"experts": config.experts, "top_k": config.top_k} if of.experts else {}
    size = scaling.cost.DecoderSize(*sizes, **routed)
    return float(scaling.cost.forward_flops(size.active, 1, size.attention_flops(scaling.cost.mean_seen(config.length))))


def _adamw(config: Config) -> optax.GradientTransformation:
    numbers: dict[str, Any] = {
        "warmup": config.warmup,
        "total": config.train_steps,
        "weight_decay": config.weight_decay,
        "clip": config.clip,
    }
    return optimizers.adamw(config.learning_rate, **numbers)


def _batch(table: np.ndarray, count: int, seed: int, step: int) -> np.ndarray:
    return table[batches.batch_at(len(table), count, seed, step)]


@functools.lru_cache  # one object, so that all trainings of a network share a compiled start
def _start(of: networks.LanguageModel) -> Callable[[jax.Array], Params]:
    return lambda key: networks.init(of, key, np.zeros((1, 2), np.int32))
