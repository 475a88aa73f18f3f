"""Rankings and pairs as batches, and the losses that learn from them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy

from experiments.preferences.rlhf import policies, task
from experiments.preferences.rlhf.config import Config
from experiments.preferences.rlhf.task import Rankings
from gendiff import networks
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.data import batches
from gendiff.preferences import bradley_terry, dpo


@records.record
class Ranked:
    """Texts (b, k, 4) of the answers that a ranking orders, and the rankings (b, k), the best first."""

    tokens: Any
    ranking: Any


@records.record
class Compared:
    """Pairs of answers (b,), by prompt · 512 + number, with the reference's log-probabilities (b,) of both."""

    chosen: Any
    rejected: Any
    reference_chosen: Any
    reference_rejected: Any


@records.record
class RankingLoss:
    """Bradley and Terry's loss of a reward model."""

    network: networks.LanguageModel = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Ranked) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics."""
        return bradley_terry(policies.scores(self.network, params, batch.tokens), batch.ranking)


@records.record
class DirectLoss:
    """Direct preference optimisation. The law of all answers costs 256 short texts, fewer than the pairs would."""

    network: networks.LanguageModel = records.static()
    beta: float = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Compared) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics."""
        law = policies.law(self.network, params).reshape(-1)
        both = law[batch.chosen], law[batch.rejected]
        return dpo(*both, batch.reference_chosen, batch.reference_rejected, beta=self.beta)


def ranked_at(rankings: Sequence[Rankings], batch: int, seeds: Sequence[int], step: int) -> Ranked:
    """Rankings of a step for each member, (batch, members, …); a member beyond the seeds takes the order of the
    first.
    """
    tokens, order = [], []
    for number, ranking in enumerate(rankings):
        rows = batches.batch_at(len(ranking.prompts), batch, seeds[number % len(seeds)], step)
        prompts = np.broadcast_to(ranking.prompts[rows][:, None], ranking.answers[rows].shape)
        tokens.append(task.texts(prompts, ranking.answers[rows]))
        order.append(ranking.ranking[rows])
    return Ranked(np.stack(tokens, 1), np.stack(order, 1))


def of_rankings(rankings: Rankings) -> tuple[np.ndarray, np.ndarray]:
    """(n,) chosen and rejected answers, by prompt · 512 + number, of all pairs of all rankings."""
    ordered = np.take_along_axis(rankings.answers, rankings.ranking, 1) + task.ANSWERS * rankings.prompts[:, None]
    better, worse = np.triu_indices(ordered.shape[1], 1)
    return ordered[:, better].reshape(-1), ordered[:, worse].reshape(-1)


def by_a_reward(
    rng: np.random.Generator, log_law: np.ndarray, liked: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(count,) chosen and rejected answers, drawn from the law and compared by Bradley and Terry's of a reward (4,
    512).
    """
    prompts = rng.integers(task.PROMPTS, size=count)
    both = task.sample(rng, log_law, prompts, 2) + task.ANSWERS * prompts[:, None]
    margin = np.diff(liked.reshape(-1)[both], axis=1)[:, 0]
    second = rng.random(count) < scipy.special.expit(margin)
    return np.where(second, both[:, 1], both[:, 0]), np.where(second, both[:, 0], both[:, 1])


def source(
    config: Config, laws: np.ndarray, rankings: Sequence[Rankings], tables: np.ndarray
) -> Callable[[int], Compared]:
    """From a step to the pairs of DPO, (batch, members): the seeds with their rankings, then the seeds with a reward
    model's preferences.

    laws: (seeds, 4, 512). rankings: the rankings of each seed. tables: (seeds or more, 4, 512) the rewards of the
        reward models.
    """
    fixed = [of_rankings(each) for each in rankings[: len(config.seeds)]]
    size = min(config.dpo_pairs, len(fixed[0][0]))
    return functools.partial(_compared_at, config.seeds, laws, fixed, tables, size)


def _compared_at(
    seeds: Sequence[int],
    laws: np.ndarray,
    fixed: Sequence[tuple[np.ndarray, np.ndarray]],
    tables: np.ndarray,
    size: int,
    step: int,
) -> Compared:
    both = []
    for seed, (chosen, rejected) in zip(seeds, fixed, strict=True):
        rows = batches.batch_at(len(chosen), size, seed, step)
        both.append((chosen[rows], rejected[rows]))
    for seed, law, liked in zip(seeds, laws, tables[: len(seeds)], strict=True):
        both.append(by_a_reward(np.random.default_rng((seed, 4, step)), law, liked, size))
    chosen, rejected = (np.stack(side, 1).astype(np.int32) for side in zip(*both, strict=True))
    reference = np.concatenate([laws, laws]).reshape(len(both), -1).astype(np.float32)
    column = np.arange(len(both))[None]
    return Compared(chosen, rejected, reference[column, chosen], reference[column, rejected])
