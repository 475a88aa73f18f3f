"""Replies of a model to questions whose answers are known: which are right, and which end by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.language import questions
from gendiff.commands.chat.models import Answer

Asked = Sequence[tuple[str, tuple[str, ...]]]
"""Questions with the answers that count, as `questions.questions` has them."""


@dataclass(frozen=True)
class Marks:
    """Of one way to ask: for each question the text of its reply, whether it holds the answer, and whether it ended by
    itself.
    """

    texts: tuple[str, ...]
    right: np.ndarray
    ended: np.ndarray


def marks(replies: Sequence[Answer], asked_questions: Asked) -> Marks:
    """Of the replies to these questions."""
    texts = tuple(reply.text for reply in replies)
    return Marks(
        texts,
        right(texts, [answers for _, answers in asked_questions]),
        np.array([reply.finished for reply in replies]),
    )


def right(texts: Sequence[str], answers: Sequence[tuple[str, ...]]) -> np.ndarray:
    """(n,) whether each text holds one of its answers."""
    return np.array([questions.holds(text, each) for text, each in zip(texts, answers, strict=True)])


def of_others(texts: Sequence[str], asked_questions: Asked) -> np.ndarray:
    """(n,) share of the other questions whose answers a text holds; a question with a common answer is no other."""
    answers = [each for _, each in asked_questions]
    strangers = [[each for each in answers if not set(each) & set(correct)] for correct in answers]
    return np.array(
        [
            np.mean([questions.holds(text, each) for each in others])
            for text, others in zip(texts, strangers, strict=True)
        ]
    )
