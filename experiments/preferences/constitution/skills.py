"""Four tagged skills as rows of tokens: answer, critique, revise, judge. What the network is shown, and how its words
are read.

request ANSWER answer
request ANSWER answer CRITIQUE-p verdict place                        (again for the other principles)
request ANSWER answer CRITIQUE-p verdict place REVISE revised answer
request ANSWER answer ANSWER another answer JUDGE-p choice            (again for the other principles)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from experiments.preferences.constitution import grammar
from experiments.preferences.constitution.grammar import LETTERS, PRINCIPLES, SIGNS, WORD

FIRST_SIGN = len(LETTERS)
ANSWER, REVISE = FIRST_SIGN + len(SIGNS), FIRST_SIGN + len(SIGNS) + 1
CRITIQUE, JUDGE = REVISE + 1, REVISE + 1 + len(PRINCIPLES)
"""The tags of the first principle; those of the others follow."""
FINE, BROKEN, FIRST, SECOND, NOWHERE = range(JUDGE + len(PRINCIPLES), JUDGE + len(PRINCIPLES) + 5)
PLACE = NOWHERE + 1
"""The word for the first sign of an answer; those for the others follow."""
VOCABULARY = PLACE + WORD
PROMPT, RESPONSE, CRITICISM = WORD + 1, 2 * WORD, 2
"""Tokens of a request with its tag, of an answer, and of a critique behind its tag."""
LENGTH = PROMPT + RESPONSE + 1 + RESPONSE + 2 * len(PRINCIPLES)
"""Tokens of the longest rows, which are those of a judge."""
DRAFT_WEIGHT = 0.3
"""Weight of the tokens of drafts, whose signs are random, beside that of critiques, revisions and judgements."""


@dataclass(frozen=True)
class SkillRows:
    """tokens, weight: (n, length); −1 stands behind the tokens of a row, and a weight on what is learned."""

    tokens: Int32[np.ndarray, "n s"]
    weight: Float32[np.ndarray, "n s"]


def prompts(numbers: Int[np.ndarray, "n"]) -> Int32[np.ndarray, "n 5"]:
    """Requests with the tag of an answer."""
    return np.concatenate([grammar.requests(numbers), np.full((len(numbers), 1), ANSWER)], 1).astype(np.int32)


def responses(letters: Int[np.ndarray, "n 4"], signs: Int[np.ndarray, "n 4"]) -> Int32[np.ndarray, "n 8"]:
    """Letters and signs in turn."""
    return np.stack([letters, signs + FIRST_SIGN], 2).reshape(len(letters), RESPONSE).astype(np.int32)


def criticisms(position: Int[np.ndarray, "n"]) -> Int32[np.ndarray, "n 2"]:
    """Verdicts and places of the first sign that offends, −1 for none."""
    fine = position < 0
    return np.stack([np.where(fine, FINE, BROKEN), np.where(fine, NOWHERE, PLACE + position)], 1).astype(np.int32)


def signs_of(tokens: Int[np.ndarray, "n 8"]) -> Int[np.ndarray, "n 4"]:
    """The signs of answers; −1 for a token that is none."""
    signs = tokens[:, 1::2].astype(np.int64) - FIRST_SIGN
    return np.where((signs >= 0) & (signs < len(SIGNS)), signs, -1)


def violated(tokens: Int[np.ndarray, "n 8"]) -> Bool[np.ndarray, "n 4"]:
    """Which principles each answer breaks; one that has another token in the place of a sign breaks all."""
    signs = signs_of(tokens)
    return grammar.violated(np.where(signs < 0, grammar.PLAIN, signs)) | (signs < 0).any(1)[:, None]


def solved(numbers: Int[np.ndarray, "n"], tokens: Int[np.ndarray, "n 8"]) -> Bool[np.ndarray, "n"]:
    """Whether each answer has the letters that its request asks for, and a sign behind each."""
    right = (tokens[:, 0::2] == grammar.task(grammar.requests(numbers))).all(1)
    return right & (signs_of(tokens) >= 0).all(1)


def text(tokens: Int[np.ndarray, "n 8"]) -> list[str]:
    """Answers as they are shown; ▯ for a token that is neither letter nor sign."""
    return ["".join((LETTERS + SIGNS)[token] if 0 <= token < ANSWER else "▯" for token in row) for row in tokens]


def rows(rng: np.random.Generator, numbers: Int[np.ndarray, "n"]) -> SkillRows:
    """A row for each request: a quarter of them critiques, a quarter revisions, the others judgements, all by the
    rules.

    Answers are those that nobody has looked at. Where a principle does not tell two answers apart, the choice is a
    coin's.
    """
    critics, revisers = len(numbers) // 4, len(numbers) // 2
    parts = (
        _critic_rows(rng, numbers[:critics]),
        _reviser_rows(rng, numbers[critics:revisers]),
        _judge_rows(rng, numbers[revisers:]),
    )
    return SkillRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("tokens", "weight")))


def answer_rows(prompt: Int[np.ndarray, "n 5"], response: Int[np.ndarray, "n 8"]) -> SkillRows:
    """Rows of requests and answers alone: what supervised tuning learns."""
    return _rows((prompt, 0.0), (response, 1.0), length=PROMPT + RESPONSE)


def _critic_rows(rng: np.random.Generator, numbers: np.ndarray) -> SkillRows:
    start, (signs,) = _answered(rng, numbers, 1)
    questions = ((principle, grammar.critiques(signs, principle)) for principle in _orders(rng, len(numbers)).T)
    parts = [
        part
        for principle, position in questions
        for part in ((_tag(CRITIQUE, principle), 0.0), (criticisms(position), 1.0))
    ]
    return _rows(*start, *parts)


def _reviser_rows(rng: np.random.Generator, numbers: np.ndarray) -> SkillRows:
    start, (signs,) = _answered(rng, numbers, 1)
    principle = rng.integers(len(PRINCIPLES), size=len(numbers))
    after = responses(grammar.task(grammar.requests(numbers)), grammar.revised(signs, principle))
    reply = criticisms(grammar.critiques(signs, principle))
    return _rows(
        *start, (_tag(CRITIQUE, principle), 0.0), (reply, 1.0), (_tag(REVISE, 0 * principle), 0.0), (after, 1.0)
    )


def _judge_rows(rng: np.random.Generator, numbers: np.ndarray) -> SkillRows:
    start, pair = _answered(rng, numbers, 2)
    first, second = (grammar.violated(signs) for signs in pair)
    coin = rng.random((len(numbers), len(PRINCIPLES))) < 0.5
    choice = np.where(np.where(first == second, coin, second), FIRST, SECOND)
    orders = _orders(rng, len(numbers)).T
    chosen = [choice[np.arange(len(numbers)), principle][:, None] for principle in orders]
    reply = [
        part
        for principle, word in zip(orders, chosen, strict=True)
        for part in ((_tag(JUDGE, principle), 0.0), (word, 1.0))
    ]
    return _rows(*start, *reply)


def _answered(
    rng: np.random.Generator, numbers: np.ndarray, count: int
) -> tuple[list[tuple[np.ndarray, float]], list[np.ndarray]]:
    """The beginning of rows with `count` drafts each, and the signs of these."""
    letters, signs = grammar.task(grammar.requests(numbers)), [grammar.drafts(rng, len(numbers)) for _ in range(count)]
    parts = [(prompts(numbers), 0.0), (responses(letters, signs[0]), DRAFT_WEIGHT)]
    for other in signs[1:]:
        parts += [(_tag(ANSWER, 0 * numbers), 0.0), (responses(letters, other), DRAFT_WEIGHT)]
    return parts, signs


def _orders(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 4) every principle once per row, in random order."""
    return rng.permuted(np.tile(np.arange(len(PRINCIPLES)), (count, 1)), axis=1)


def _tag(tag: int, principle: np.ndarray) -> np.ndarray:
    return (tag + principle)[:, None]


def _rows(*parts: tuple[np.ndarray, float], length: int = LENGTH) -> SkillRows:
    """Parts (n, k) side by side, each with the weight of its tokens."""
    tokens = np.concatenate([part for part, _ in parts], 1).astype(np.int32)
    weight = np.concatenate([np.full(part.shape, weight, np.float32) for part, weight in parts], 1)
    behind = ((0, 0), (0, length - tokens.shape[1]))
    return SkillRows(np.pad(tokens, behind, constant_values=-1), np.pad(weight, behind))
