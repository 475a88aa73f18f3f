"""What is asked and what people like: 4 prompts, all 512 strings of 3 symbols, demonstrations, a gold reward, and
rankings by it.
"""

import functools
from dataclasses import dataclass

import numpy as np
import scipy

SYMBOLS, LENGTH, PROMPTS = 8, 3, 4
ANSWERS = SYMBOLS**LENGTH
VOCABULARY = SYMBOLS + PROMPTS
"""Ids 0 … 7 are symbols, and the others are the prompts, one token each."""
SEED = 19
"""Of the task itself, which all seeds of training share."""


@dataclass(frozen=True)
class Rankings:
    """n rankings of k answers each. prompts: (n,) 0 … 3. answers: (n, k) numbers of strings. ranking: (n, k) places,
    the best first.
    """

    prompts: np.ndarray
    answers: np.ndarray
    ranking: np.ndarray


@functools.cache
def strings() -> np.ndarray:
    """(512, 3) symbols of each answer, int32, in the order of their numbers."""
    return np.stack(np.unravel_index(np.arange(ANSWERS), (SYMBOLS,) * LENGTH), 1).astype(np.int32)


def texts(prompts: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(…, 4) tokens of each prompt (…,) with an answer (…,) after it, int32."""
    return np.concatenate([(SYMBOLS + prompts)[..., None].astype(np.int32), strings()[answers]], -1)


@functools.cache
def demonstrated() -> np.ndarray:
    """(4, 512) log-probabilities of the demonstrations: each symbol depends on the prompt and on the one before."""
    rng = np.random.default_rng((SEED, 0))
    first, steps = (
        scipy.special.log_softmax(rng.normal(size=size), -1)
        for size in ((PROMPTS, SYMBOLS), (PROMPTS, SYMBOLS, SYMBOLS))
    )
    one, two, three = strings().T
    return first[:, one] + steps[:, one, two] + steps[:, two, three]


@functools.cache
def gold() -> np.ndarray:
    """(4, 512) what people like, of mean 0 and standard deviation 1 over demonstrations.

    Each prompt likes other symbols at each place, and all prompts like some symbols after others, half as much.
    """
    rng = np.random.default_rng((SEED, 1))
    alone, follow = rng.normal(size=(PROMPTS, LENGTH, SYMBOLS)), 0.5 * rng.normal(size=(SYMBOLS, SYMBOLS))
    one, two, three = strings().T
    raw = (
        sum(alone[:, position, symbols] for position, symbols in enumerate((one, two, three)))
        + (follow[one, two] + follow[two, three])[None]
    )
    weight = np.exp(demonstrated()) / PROMPTS
    centred = raw - (weight * raw).sum()
    return centred / np.sqrt((weight * centred**2).sum())


def sample(rng: np.random.Generator, log_law: np.ndarray, prompts: np.ndarray, each: int = 1) -> np.ndarray:
    """(n, each) numbers of answers to prompts (n,), from a law (4, 512) given as logarithms."""
    totals = np.cumsum(np.exp(log_law), 1)
    points = rng.random((len(prompts), each)) * totals[prompts, -1:]
    result = np.empty(points.shape, np.int64)
    for prompt in range(PROMPTS):
        here = prompts == prompt
        result[here] = np.searchsorted(totals[prompt], points[here], side="right")
    return np.minimum(result, ANSWERS - 1)


def ranked(rng: np.random.Generator, log_law: np.ndarray, count: int, each: int, liked: np.ndarray) -> Rankings:
    """Rankings by Plackett and Luce's law of a reward (4, 512): each pair of a ranking follows Bradley and Terry's."""
    prompts = rng.integers(PROMPTS, size=count)
    answers = sample(rng, log_law, prompts, each)
    felt = liked[prompts[:, None], answers] + rng.gumbel(size=answers.shape)
    return Rankings(prompts, answers, np.argsort(-felt, 1).astype(np.int32))


def accuracy(log_law: np.ndarray, scores: np.ndarray) -> float:
    """Share of pairs of answers, drawn from the law and compared by people, on which scores (4, 512) agree; a tie is
    half a pair.
    """
    rates = []
    for law, liked, score in zip(np.exp(log_law), gold(), scores, strict=True):
        wins = scipy.special.expit(liked[:, None] - liked[None])
        chosen = (np.sign(score[:, None] - score[None]) + 1) / 2
        rates.append(law @ (wins * chosen + (1 - wins) * (1 - chosen)) @ law / law.sum() ** 2)
    return float(np.mean(rates))


def bayes_rate(log_law: np.ndarray) -> float:
    """The accuracy of gold itself, which none exceeds."""
    return accuracy(log_law, gold())
