"""SmolLM2: sums of more and more digits, and questions whose words stand in another order."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.edge.config import Config
from experiments.language import questions, real_model, replies
from gendiff.commands.chat import models
from gendiff.pipelines import Chat
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.study import Measured

SUM, OTHERS = "SmolLM2: sums of {} digits", "SmolLM2: answers of other sums"
ASKED, TURNED, SHUFFLED = "as asked", "turned round", "words shuffled"
FACTS = "SmolLM2: questions, {}"
LENGTHS = range(1, 7)
COUNTRIES = {
    "the United States": ("United States", "USA", "US", "U.S.", "U.S.A."),
    "England": ("England", "United Kingdom", "UK", "Great Britain"),
    "Turkey": ("Turkey", "Türkiye"),
}
"""Names that count, where a country has several. America is none of them: it is a continent, too."""
EXAMPLES = 4
"""Right sums that stand before the one that is asked."""


def sums(digits: int, count: int) -> tuple[list[str], np.ndarray]:
    """Prompts with examples of equally many digits, and the answers (n,)."""
    rng = np.random.default_rng((intervals.SEED, digits))
    least = 0 if digits == 1 else 10 ** (digits - 1)
    pairs = rng.integers(least, 10**digits, size=(count, EXAMPLES + 1, 2))
    lines = [[f"{first} + {second} =" for first, second in row] for row in pairs]
    totals = pairs.sum(2)
    texts = [
        "".join(f"{line} {total}\n" for line, total in zip(row[:-1], known, strict=False)) + row[-1]
        for row, known in zip(lines, totals, strict=True)
    ]
    return texts, totals[:, -1]


def facts() -> dict[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Questions and their answers; those about capitals are turned round, all are shuffled."""
    pairs = questions.questions()
    begin, rng = "What is the capital of ", np.random.default_rng(intervals.SEED)
    capitals = [
        (answers[0], text.removeprefix(begin).removesuffix("?")) for text, answers in pairs if text.startswith(begin)
    ]
    turned = tuple(
        (f"{capital} is the capital of which country?", COUNTRIES.get(country, (country,)))
        for capital, country in capitals
    )
    shuffled = tuple((" ".join(rng.permutation(text.removesuffix("?").split())) + "?", rows) for text, rows in pairs)
    return {ASKED: pairs, TURNED: turned, SHUFFLED: shuffled}


def measure(config: Config, progress: Progress) -> Iterator[Measured]:
    """Shares of right answers, and what the order of words takes."""
    chat = real_model.opened(config.tiny)
    for digits in LENGTHS:
        with progress.phase("SmolLM2"):
            texts, answers = sums(digits, config.sums)
            lines = [reply.text.split("\n")[0].strip() for reply in _replies(chat, texts, digits + 2, False)]
        right, others = (
            np.array([line == str(each) for line, each in zip(lines, rows, strict=True)])
            for rows in (answers, np.roll(answers, 1))
        )
        arrays = {"at": ("SmolLM2", "sums of 1 to 6 digits", digits - 1)}
        yield Measured(SUM.format(digits), {"right": intervals.share(right)}, None, len(texts), "SmolLM2", arrays)
        if digits == LENGTHS[0]:
            yield Measured(OTHERS, {"right": intervals.share(others)}, None, len(texts), "SmolLM2")
    by_form: dict[str, np.ndarray] = {}
    for distance, (name, pairs) in enumerate(facts().items()):
        pairs = pairs[: config.questions]
        with progress.phase("SmolLM2"):
            texts = [reply.text for reply in _replies(chat, [text for text, _ in pairs], config.max_tokens, True)]
        by_form[name] = replies.right(texts, [answers for _, answers in pairs])
        measures: dict[str, Any] = {"right": intervals.share(by_form[name])}
        if name != ASKED:
            same = by_form[ASKED][: len(pairs)]  # capitals come first
            measures["lost"] = intervals.interval(intervals.difference_of_means, same, by_form[name], paired=True)
        arrays = {"at": ("SmolLM2", "questions", distance)}
        yield Measured(FACTS.format(name), measures, None, len(pairs), "SmolLM2", arrays)


def _replies(chat: Chat, texts: list[str], tokens: int, template: bool) -> list[models.Answer]:
    return models.answers(chat, texts, tokens, template=template)
