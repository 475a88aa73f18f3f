"""Ways to make one answer of n samples, and how often each is right: coverage, votes, and best of n by several
verifiers.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from experiments.preferences.test_time.config import Config, counts
from gendiff import preferences
from gendiff.runs import devices

COVERAGE, ORACLE, MAJORITY = "coverage", "best of n, oracle", "majority"
LEARNED, WEIGHTED = "best of n, learned verifier", "weighted vote, learned verifier"
LIKELY = "best of n, log-probability"
"""By the generator's log-probability of the answer."""
PAIRED, UNPAIRED = "best of n, verifier of pairs alone", "best of n, verifier without pairs"
LABELS = "best of n, verifier of labels"
BOTH, PAIRED_BOTH = "best of n, verifier + log-probability", "best of n, verifier of pairs alone + log-probability"
"""By the sum of a verifier's score and the generator's log-probability."""
READ = (LEARNED, WEIGHTED, PAIRED, UNPAIRED, LABELS, BOTH, PAIRED_BOTH)
"""A verifier reads the samples; the generator's log-probability comes with them."""
METHODS = (COVERAGE, MAJORITY, LEARNED, BOTH, LIKELY, LABELS)
"""Those that figures show; the oracle's curve is that of coverage."""
NOISY = "best of n, noise "
NOISE = 7
"""Seed of the noise of verifiers."""
KEY = 8
"""Seed of what decides between equals."""


def noisy(deviation: float) -> str:
    """The name of best of n by a verifier with noise."""
    return f"{NOISY}{deviation:g}"


def shares(
    config: Config, truth: np.ndarray, answers: np.ndarray, scores: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """By method: (counts, n) the share of right answers to each question, over all blocks of 1, 2, 4, … of its samples.

    truth: (n,) numbers. answers: (n, samples) numbers, -1 where none could be read. scores: by method, the (n, samples)
        scores whose best one is chosen; those of LEARNED weigh votes too.
    """
    noise = np.random.default_rng(NOISE).normal(size=answers.shape)
    by_method: dict[str, list[np.ndarray]] = {}
    for count in counts(config):
        for name, right in _at(config, count, truth, answers, scores, noise):
            by_method.setdefault(name, []).append(right.reshape(len(truth), -1).mean(1))
    return {name: np.stack(parts) for name, parts in by_method.items()}


def _at(
    config: Config,
    count: int,
    truth: np.ndarray,
    numbers: np.ndarray,
    scores: Mapping[str, np.ndarray],
    noise: np.ndarray,
) -> Iterator[tuple[str, np.ndarray]]:
    """(method, (blocks of all questions,) whether its answer is right)."""

    def blocks(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, count)

    right = numbers == truth[:, None]
    of_block = np.repeat(truth, numbers.shape[1] // count)
    answers, checked = blocks(numbers).astype(np.int32), blocks(right)

    def picked(by: np.ndarray) -> np.ndarray:
        return np.take_along_axis(checked, best(by)[:, None], 1)[:, 0]

    def vote(weights: np.ndarray) -> np.ndarray:
        return _vote(answers, weights) == of_block

    yield COVERAGE, checked.any(1)
    yield ORACLE, picked(checked)
    yield MAJORITY, vote(np.ones(answers.shape))
    for method, values in scores.items():
        yield method, picked(blocks(values))
    yield WEIGHTED, vote(chances(blocks(scores[LEARNED])))
    for deviation in config.noises:
        yield noisy(deviation), picked(checked + deviation * blocks(noise))


def chances(scores: np.ndarray) -> np.ndarray:
    """(n, count) by Bradley and Terry's law for several: the chance that each is the best one of its row, up to a
    factor per row. Scores of -inf have none.
    """
    return np.exp(scores - np.max(scores, 1, keepdims=True, initial=np.finfo(scores.dtype).min))


def pair_accuracy(right: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs of a right and a wrong answer (n, count) to one question in which the right one is scored
    above, a tie a half: the mean over questions that have both; NaN where none has.
    """
    shares = []
    for hits, row in zip(right, scores, strict=True):
        if hits.any() and not hits.all():
            better, worse = row[hits][:, None], row[~hits][None]
            shares.append(np.mean((better > worse) + (better == worse) / 2))
    return float(np.mean(shares)) if shares else float("nan")


def majority_gain(truth: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the lead of the right answer in half of the samples, and the gain of a vote of the others over one of them.

    The lead is its votes less those of the most frequent other answer, over the root of all votes: about as many
    standard deviations. The halves are drawn apart, so that no question is chosen by the votes that are counted.
    """
    half = answers.shape[1] // 2
    first, second = answers[:, :half], answers[:, half : 2 * half]
    right, votes = first == truth[:, None], (first[:, :, None] == first[:, None]).sum(2)
    lead = (right.sum(1) - np.where(right, 0, votes).max(1)) / np.sqrt(half)
    voted = _vote(second.astype(np.int32), np.ones(second.shape)) == truth
    return lead, voted - (second == truth[:, None]).mean(1)


def best(scores: np.ndarray) -> np.ndarray:
    """(n,) the place of the best score of each row (n, count)."""
    if scores.shape[1] == 1:
        return np.zeros(len(scores), np.int32)  # no choice, and no program for it
    return np.asarray(_programs()[0](jax.random.key(KEY), scores.astype(np.float32)))


def _vote(answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) the answer of each row (n, count) with the largest sum of weights."""
    if answers.shape[1] == 1:
        return answers[:, 0]
    return np.asarray(_programs()[1](jax.random.key(KEY), answers, weights.astype(np.float32)))


@functools.cache
def _programs() -> tuple[Any, Any]:
    return devices.jit(preferences.best_of_n), devices.jit(preferences.weighted_vote)
