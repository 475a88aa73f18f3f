"""How sure a model is of its replies, and whether it is right as often as it is sure."""

import re
from collections.abc import Callable, Sequence

import jax
import numpy as np

from experiments.preferences import responses
from experiments.preferences.confabulation import refusal
from gendiff import networks
from gendiff.commands.chat import models
from gendiff.core.types import Params
from gendiff.pipelines import Chat
from gendiff.preferences import instruction
from gendiff.runs import devices, drawing

Score = Callable[[Params, jax.Array, jax.Array], jax.Array]
TOGETHER, MULTIPLE = 10, 32
"""Texts that are scored in one call; their width is a multiple, so that few shapes compile."""
BINS = 10
COMMON = frozenset(
    "a an and as at by for from has in is it its known of on or that the this to was were which who".split()
)
"""Words that no answer is."""
ALIKE = 0.5
"""Share of the words of two replies that both have, from which on they say the same."""


def scorer(chat: Chat) -> Score:
    """(parameters, tokens (n, s), where the replies begin (n,)) -> log p of the replies (n,)."""
    predict = networks.pure(chat.network)

    def score(params: Params, tokens: jax.Array, first: jax.Array) -> jax.Array:
        return responses.log_probs(predict, params, tokens, first)

    return devices.jit(score)


def log_probs(
    chat: Chat, score: Score, texts: Sequence[str], replies: Sequence[models.Answer]
) -> tuple[np.ndarray, np.ndarray]:
    """Log p of each reply (n,), and its tokens (n,), >= 1. Its end is one of them, unless the reply was cut before."""
    prompts = [models.question(chat, text) for text in texts]
    answers = [chat.tokenizer.encode(reply.text) for reply in replies]
    first, count = (np.array([len(each) for each in rows], np.int32) for rows in (prompts, answers))
    length = -(-int(np.max(first + count + 1)) // MULTIPLE) * MULTIPLE
    tokens = instruction.rows(prompts, answers, end=chat.tokenizer.end or 0, length=length).tokens
    finished = np.array([reply.finished for reply in replies])
    tokens[~finished, (first + count)[~finished]] = instruction.PADDING
    groups = [(None, (tokens, first))]
    parts = drawing.stream(lambda *arrays: score(chat.params, *arrays), groups, together=TOGETHER)
    return np.concatenate([part for *_, part in parts]), np.maximum(count + finished, 1)


def same(first: str, second: str, question: str) -> bool:
    """Whether two replies say the same: both are refusals, or half of their words beyond those of the question are
    the same.
    """
    refusals = refusal.refused([first, second])
    if refusals.any():
        return bool(refusals.all())
    both = [_words(text) - _words(question) - COMMON for text in (first, second)]
    return len(both[0] & both[1]) >= ALIKE * len(both[0] | both[1])


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: |share that is right − mean confidence|, a mean over replies, in bins of equal
    width.

    References:
        Naeini et al., 2015; Guo et al., 2017, Eq. 3 (from memory).
    """
    excess = np.bincount(bins(confidence), np.asarray(right, np.float64) - confidence, BINS)
    return float(np.abs(excess).sum() / len(confidence))


def bins(confidence: np.ndarray) -> np.ndarray:
    """(n,) number of the bin of each confidence in [0, 1]."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def selective_accuracy(confidence: np.ndarray, right: np.ndarray, coverage: float = 0.5) -> float:
    """Share that is right among the replies of most confidence, so large a share of all; equal ones share the last
    places.

    References:
        El-Yaniv and Wiener, 2010 (from memory).
    """
    count = max(1, round(coverage * len(confidence)))
    last = np.sort(confidence)[-count]
    above, level = confidence > last, confidence == last
    return float((right[above].sum() + (count - above.sum()) * right[level].mean()) / count)


def selective_gain(confidence: np.ndarray, right: np.ndarray) -> float:
    """`selective_accuracy` of the surer half, less the share that is right of all."""
    return selective_accuracy(confidence, right) - float(np.mean(right))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
