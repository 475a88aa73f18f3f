"""Text with canaries in it, the two models, and their training."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from experiments.provenance.memorise_text.config import Config
from gendiff import language, networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Params
from gendiff.data import text
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import optimizers

SMALL, LARGE = 0, 1
SIZES = ("smaller", "larger")


@dataclass(frozen=True)
class Corpus:
    """What a seed trains on, and what its models are asked.

    rows: (rows, length + 1) ids. seen: (n, letters) canaries in them, with their copies (n,). unseen: (m, letters) others.
    candidates: (c, letters) random texts of the same form.
    """

    rows: np.ndarray
    seen: np.ndarray
    copies: np.ndarray
    unseen: np.ndarray
    candidates: np.ndarray


def corpus(config: Config, seed: int) -> Corpus:
    """Random rows of Python's manual; each copy of a canary takes the place of some letters in a row of its own."""
    rng, rows = np.random.default_rng(seed), manual(config)
    if len(rows) < config.rows:
        raise ConfigError(f"--rows {config.rows} are more than the {len(rows)} of --length {config.length} that Python's manual has")
    rows = rows[rng.permutation(len(rows))[: config.rows]]
    copies = np.repeat(config.copies, config.canaries)
    letters = _letters(rng, len(copies) + config.unseen + config.candidates, config.letters)
    seen, unseen, candidates = np.split(letters, [len(copies), len(copies) + config.unseen])
    copied = np.repeat(seen, copies, 0)
    place = rng.permutation(config.rows)[: len(copied), None]
    start = rng.integers(1, config.length + 2 - config.letters, (len(copied), 1))
    rows[place, start + np.arange(config.letters)] = copied
    return Corpus(rows, seen, copies, unseen, candidates)


def network(config: Config, size: int) -> networks.LanguageModel:
    """The smaller or the larger model."""
    vocabulary, width, depth = language.tokens.plain().size, config.widths[size], config.depths[size]
    return networks.LanguageModel(vocabulary=vocabulary, context=config.length, width=width, depth=depth, heads=4)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Both models with every seed, on the same rows."""
    for size, name in enumerate(SIZES):
        progress.line(f"train the {name} model")
        model = network(config, size)
        averages: dict[str, Any] = {"ema": (config.ema,), "ema_warm_up": True}
        program = training_loop.compile_loss(_loss(model), _adamw(config), _start(model), folder, **averages)
        for seed in config.seeds:
            training_loop.train(
                program,
                language.Texts(corpus(config, seed).rows),
                seed=seed,
                steps=config.train_steps,
                batch=config.batch,
                folder=folder.inside(name),
                progress=progress,
                checkpoint_every=config.checkpoint_every,
                log_every=config.log_every,
            )


def restore(config: Config, folder: RunFolder, size: int, seed: int) -> Params:
    """The averaged parameters of one model."""
    where = folder.inside(SIZES[size])
    return training_loop.restore_ema(_start(network(config, size)), where, seed=seed, decay=config.ema)


def manual(config: Config) -> np.ndarray:
    """All rows of Python's manual (n, length + 1)."""
    tokenizer = language.tokens.plain()
    ids = [tokenizer.encode(each) for each in text.python_manual().texts]
    return text.rows(ids, config.length + 1, tokenizer.size - 1)


def _letters(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    return rng.integers(ord("a"), ord("z") + 1, (count, length)).astype(np.int32)


@functools.lru_cache  # one object, so that all trainings of a network share a compiled step
def _loss(of: networks.LanguageModel) -> Loss:
    return language.objective.next_token(networks.pure(of))


@functools.lru_cache
def _start(of: networks.LanguageModel) -> Callable[[jax.Array], Params]:
    return lambda key: networks.init(of, key, np.zeros((1, 2), np.int32))


@functools.lru_cache
def _adamw(config: Config) -> optax.GradientTransformation:
    numbers: dict[str, Any] = {"warmup": config.warmup, "total": config.train_steps, "weight_decay": config.weight_decay}
    return optimizers.adamw(config.learning_rate, clip=config.clip, **numbers)
