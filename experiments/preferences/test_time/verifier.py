"""Learned verifiers: networks that read a question with an answer and score it.

The one that is measured learns by Bradley and Terry's law which of two answers to the same question is right: the right
one, or a wrong one that the generator gave. Its score is the log-probability of the answer's digits, and it starts from
the generator: what it scores before training is the generator's own log-probability. The likelihood of the right answer
is part of its loss: pairs alone lower wrong answers that the generator gives, and may raise others. Ablations learn
from either part alone. The control learns labels, each answer alone, from random parameters: right or wrong, over all
questions.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.preferences.test_time import answers, train
from experiments.preferences.test_time.choosing import LEARNED, PAIRED, UNPAIRED
from experiments.preferences.test_time.config import Config
from experiments.preferences.test_time.train import DIRECT, Arm
from experiments.tasks import addition
from experiments.tasks.addition import SumFormat
from gendiff import networks
from gendiff.core import records
from gendiff.core.errors import DataError
from gendiff.core.types import Metrics, Params
from gendiff.data import batches
from gendiff.language.objective import Texts
from gendiff.preferences import bradley_terry
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

WRONG, RIGHT = addition.SYMBOLS.index("0"), addition.SYMBOLS.index("1")
"""The labels, as tokens."""
POOL = 2**31
"""The step whose pairs begin the pool: no training has so many."""
EACH = 8
"""Answers of the generator per question of the pool; the control learns from the first of them."""
PARTS = {LEARNED: (1.0, 1.0), PAIRED: (1.0, 0.0), UNPAIRED: (0.0, 1.0)}
"""What is measured and its ablations: weights of pairs and of likelihood in the loss."""
TOGETHER = 4096
"""Texts per call."""


@records.record
class PairLoss:
    """Of pairs of texts (b, 2, s), the right one first: Bradley and Terry's loss, in which a constant per question
    cancels, and −log p of the right answer.

    answer: how many tokens it has. pairs, likelihood: weights of the two parts.
    References: Cobbe et al., 2021, for verifiers that go on learning language (from memory).
    """

    network: networks.LanguageModel = records.static()
    answer: int = records.static()
    pairs: float = records.static()
    likelihood: float = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: jax.Array) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics; `pairs` is the first part."""
        scores = log_probs(self.network, params, batch.reshape(-1, batch.shape[-1]), self.answer).reshape(-1, 2)
        of_pairs, metrics = bradley_terry(scores, np.tile(np.arange(2), (len(scores), 1)))
        loss = self.pairs * of_pairs - self.likelihood * jnp.mean(scores[:, 0])
        return loss, metrics | {"pairs": of_pairs}


def arm(config: Config, method: str) -> Arm:
    """A verifier of `PARTS`, as large as the network that it judges. In half of the steps it reads as many texts as
    the control.
    """
    return Arm(method.removeprefix("best of n, "), DIRECT, config.small, min(1, config.halvings))


def labels_arm(config: Config) -> Arm:
    """The control, which learns labels of single answers."""
    return Arm("verifier of labels", DIRECT, config.small)


def train_all(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Trains all, once the small network is there. The pool is drawn anew after an interruption, and is then the
    same.
    """
    with progress.phase("pool"):
        questions = pool_questions(config)
        replies = answers.of_seeds(config, folder, train.direct(config), functools.partial(_replies, config, questions))
    labelled = np.stack([labelled_texts(config, questions, each[:, 0]) for each in replies])
    of_labels = functools.partial(texts_at, config, labelled)
    train.run(config, folder, progress, (labels_arm(config),), of_labels)
    pairs = [pairs_of(config, questions, each) for each in replies]
    for seed, each in zip(config.seeds, pairs, strict=True):
        if len(each) < config.batch:
            raise DataError(f"the network of seed {seed} errs {len(each)} times in the pool, less than --batch")
    generator = train.restore(config, folder, train.direct(config))
    for method, parts in PARTS.items():
        loss = PairLoss(train.network(config, config.small), SumFormat(config.digits).answer_length, *parts)
        of_pairs = functools.partial(pairs_at, config, pairs)
        train.run(config, folder, progress, (arm(config, method),), of_pairs, loss, generator)


def pool_questions(config: Config) -> np.ndarray:
    """(pool, 2) training sums, the same ones for all seeds."""
    rounds = -(-config.pool // config.questions)  # as many at once as questions, by the same program
    parts = [
        addition.batch_at(config.digits, config.questions, 0, POOL + turn, without=train.held_out(config))
        for turn in range(rounds)
    ]
    return np.concatenate(parts)[: config.pool]


def labelled_texts(config: Config, questions: np.ndarray, replies: np.ndarray) -> np.ndarray:
    """(n, s) texts of questions (n, 2), an answer (n,) to each, and the label of the checker."""
    label = np.where(replies == questions.sum(1), RIGHT, WRONG)
    return np.concatenate([answers.as_text(config, questions, replies), label[:, None].astype(np.int32)], 1)


def pairs_of(config: Config, questions: np.ndarray, replies: np.ndarray) -> np.ndarray:
    """(pairs, 2, s) texts: each wrong answer among the replies (n, count) that could be read, behind the right answer
    to its question.
    """
    truth = questions.sum(1)
    at, number = np.nonzero((replies != truth[:, None]) & (replies >= 0))
    texts = [answers.as_text(config, questions[at], each) for each in (truth[at], replies[at, number])]
    return np.stack(texts, 1)


def texts_at(config: Config, pool: np.ndarray, step: int) -> Texts:
    """The texts (batch, seeds, s) of a step of labels; the label alone counts."""
    tokens = _rows_at(config, pool, step)
    last = np.arange(tokens.shape[2]) == tokens.shape[2] - 1
    return Texts(tokens, np.broadcast_to(last, tokens.shape).astype(np.float32))


def pairs_at(config: Config, pairs: list[np.ndarray], step: int) -> np.ndarray:
    """The pairs (batch, seeds, 2, s) of a step."""
    return _rows_at(config, pairs, step)


def scores(
    config: Config, program: Any, params: Params, pairs: np.ndarray, replies: np.ndarray, progress: Progress
) -> np.ndarray:
    """(n, count) scores of the answers (n, count) by a program of `log_prob_of` or `label_odds_of`; those that could
    not be read have -inf.
    """
    texts = answers.as_text(config, np.repeat(pairs, replies.shape[1], 0), replies.reshape(-1))
    index = np.arange(len(texts))
    values = drawing.draw_all(
        lambda _, rows: program(params, rows), index, texts, together=TOGETHER, title="verify", progress=progress
    )
    return np.where(replies >= 0, values.reshape(replies.shape), -np.inf)


def log_probs(network: networks.LanguageModel, params: Params, texts: jax.Array, answer: int) -> jax.Array:
    """(n,) log-probability of the last `answer` tokens of texts (n, s), given those before them: a sum over tokens."""
    logits = networks.pure(network)(params, texts[:, :-1]).logits[:, -answer:]
    return jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), texts[:, -answer:, None], 2), (1, 2))


@functools.lru_cache(maxsize=2)
def log_prob_of(network: networks.LanguageModel, answer: int) -> Any:
    """(params, texts (n, s)) -> (n,) log-probability of the answers: the score of generator and verifier of pairs."""

    def score(params: Params, texts: jax.Array) -> jax.Array:
        return log_probs(network, params, texts, answer)

    return devices.jit(score, libraries=False)


@functools.lru_cache(maxsize=1)
def label_odds_of(network: networks.LanguageModel) -> Any:
    """(params, texts (n, s)) -> (n,) log-odds of the label "right"."""
    predict = networks.pure(network)

    def odds(params: Params, texts: jax.Array) -> jax.Array:
        logits = predict(params, texts, None, False).logits
        return logits[:, RIGHT] - logits[:, WRONG]

    return devices.jit(odds, libraries=False)


def _replies(config: Config, questions: np.ndarray, params: Params) -> np.ndarray:
    """(pool, EACH) answers of one network, of as many questions at once as are measured."""
    size = config.questions
    padded = np.concatenate([questions, np.repeat(questions[:1], -len(questions) % size, 0)])
    parts = [
        answers.sampled(config, DIRECT, config.small, params, padded[start : start + size], EACH)
        for start in range(0, len(padded), size)
    ]
    return np.concatenate(parts)[: len(questions)]


def _rows_at(config: Config, pools: Any, step: int) -> np.ndarray:
    """(batch, seeds, …) rows of a step, of each seed's own pool."""
    rows = [
        pool[batches.batch_at(len(pool), config.batch, seed, step)]
        for seed, pool in zip(config.seeds, pools, strict=True)
    ]
    return np.stack(rows, 1)
