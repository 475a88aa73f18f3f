"""The learned verifier: a network that reads a question with an answer and says how likely the answer is right.

It learns from answers that the small network gives to training sums, each with the label of the exact checker behind
it.
"""

import functools
from typing import Any

import jax
import numpy as np

from experiments.preferences.test_time import answers, train
from experiments.preferences.test_time.config import Config
from experiments.preferences.test_time.train import DIRECT, Arm
from experiments.tasks import addition
from gendiff import networks
from gendiff.core.types import Params
from gendiff.data import batches
from gendiff.language.objective import Texts
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

WRONG, RIGHT = addition.SYMBOLS.index("0"), addition.SYMBOLS.index("1")
"""The labels, as tokens."""
POOL = 2**31
"""The step whose pairs begin the pool: no training has so many."""
TOGETHER = 4096
"""Texts per call."""


def arm(config: Config) -> Arm:
    """The verifier's training; it is as large as the network that it judges."""
    return Arm("verifier", DIRECT, config.small)


def train_it(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Trains it, once the small network is there. The pool is drawn anew after an interruption, and is then the
    same.
    """
    with progress.phase("pool"):
        pool = labelled(config, folder)
    train.run(config, folder, progress, (arm(config),), functools.partial(texts_at, config, pool))


def labelled(config: Config, folder: RunFolder) -> np.ndarray:
    """(seeds, pool, s) texts of sums, an answer of the seed's own network, and the label of the checker."""
    rounds = -(-config.pool // config.questions)  # as many at once as questions, by the same program
    samples = [
        addition.batch_at(config.digits, config.questions, 0, POOL + turn, without=train.held_out(config))
        for turn in range(rounds)
    ]

    def ask(params: Params) -> np.ndarray:
        return np.concatenate([_labelled(config, params, pairs) for pairs in samples])[: config.pool]

    return answers.of_seeds(config, folder, train.direct(config), ask)


def texts_at(config: Config, pool: np.ndarray, step: int) -> Texts:
    """The texts (batch, seeds, s) of a step; the label alone counts."""
    rows = [
        texts[batches.batch_at(len(texts), config.batch, seed, step)]
        for seed, texts in zip(config.seeds, pool, strict=True)
    ]
    tokens = np.stack(rows, 1)
    last = np.arange(tokens.shape[2]) == tokens.shape[2] - 1
    return Texts(tokens, np.broadcast_to(last, tokens.shape).astype(np.float32))


def scores(
    config: Config, params: Params, pairs: np.ndarray, answers_given: np.ndarray, progress: Progress
) -> np.ndarray:
    """(n, count) log-odds that the answers (n, count) are right; those that could not be read have -inf."""
    count = answers_given.shape[1]
    texts = answers.as_text(config, np.repeat(pairs, count, 0), answers_given.reshape(-1))
    judge = functools.partial(_program(train.network(config, config.small)), params)
    index = np.arange(len(texts))
    odds = drawing.draw_all(
        lambda _, rows: judge(rows), index, texts, together=TOGETHER, title="verify", progress=progress
    )
    return np.where(answers_given >= 0, odds.reshape(-1, count), -np.inf)


def _labelled(config: Config, params: Params, pairs: np.ndarray) -> np.ndarray:
    answers_given = answers.sampled(config, DIRECT, config.small, params, pairs, 1)[:, 0]
    label = np.where(answers_given == pairs.sum(1), RIGHT, WRONG)
    return np.concatenate([answers.as_text(config, pairs, answers_given), label[:, None].astype(np.int32)], 1)


@functools.lru_cache(maxsize=1)
def _program(network: networks.LanguageModel) -> Any:
    """(params, texts (n, s)) -> (n,) log-odds of the label "right"."""
    predict = networks.pure(network)

    def odds(params: Params, texts: jax.Array) -> jax.Array:
        logits = predict(params, texts, None, False).logits
        return logits[:, RIGHT] - logits[:, WRONG]

    return devices.jit(odds, libraries=False)
