"""The task, its four principles, and the rules that check them: what no network decides.

A request is a word of four letters. The answer spells it backwards with a sign behind each letter: "abcd" is answered
by "d_c~b(a.". The task is done where the letters are right. Principles are about the signs alone, and a program checks
them.
"""

import numpy as np
from jaxtyping import Bool, Int, Int32

LETTERS, SIGNS = "abcdefghij", "_!?()~."
WORD = 4
"""Letters of a request, and signs of an answer."""
PRINCIPLES = (
    "no ! and no ?",
    "every bracket has its partner",
    "no sign stands twice in a row",
    "the last sign is a full stop",
)
REQUESTS = len(LETTERS) ** WORD
PLAIN, OPEN, CLOSE, STOP = (SIGNS.index(sign) for sign in "_().")
LOUD = tuple(SIGNS.index(sign) for sign in "!?")
CARELESS = (0.4, 0.1, 0.05, 0.1, 0.1, 0.15, 0.1)
"""Chance of each sign of a careless draft."""
STOPPED, CAREFUL = 0.5, 0.25
"""Chance that a careless draft ends with a full stop, and that a draft is a careful one, which breaks no principle."""


def requests(numbers: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 4"]:
    """The letters (n, 4) of requests by their numbers 0 … REQUESTS − 1."""
    return numbers[:, None] // len(LETTERS) ** np.arange(WORD) % len(LETTERS)


def task(letters: Int[np.ndarray, "n 4"]) -> Int[np.ndarray, "n 4"]:
    """The letters of the right answer: backwards."""
    return letters[:, ::-1]


def drafts(rng: np.random.Generator, count: int) -> Int[np.ndarray, "n 4"]:
    """Signs of answers that nobody has looked at: most are careless, some break no principle."""
    signs = rng.choice(len(SIGNS), (count, WORD), p=CARELESS)
    signs[rng.random(count) < STOPPED, -1] = STOP
    careful = rng.random(count) < CAREFUL
    signs[careful] = clean(signs[careful])
    return signs


def offending(signs: Int[np.ndarray, "n 4"]) -> Bool[np.ndarray, "n 4 4"]:
    """Which of the four signs break each principle (n, principles, signs). Of a sign that stands several times the last
    one is left.
    """
    echo, end = (np.zeros(signs.shape, bool) for _ in range(2))
    echo[:, :-1] = (signs[:, :-1] == signs[:, 1:]) & (signs[:, :-1] != PLAIN)
    end[:, -1] = signs[:, -1] != STOP
    return np.stack([np.isin(signs, LOUD), _unmatched(signs), echo, end], 1)


def violated(signs: Int[np.ndarray, "n 4"]) -> Bool[np.ndarray, "n 4"]:
    """Which principles (n, principles) each answer breaks."""
    return offending(signs).any(2)


def revised(signs: Int[np.ndarray, "n 4"], principle: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 4"]:
    """The answers after a revision by one principle each: a sign that offends becomes plain, the last one a full stop.

    It is not a promise of the other principles: a full stop may take the place of a bracket's partner.
    """
    wrong = offending(signs)[np.arange(len(signs)), principle]
    return np.where(wrong, np.where(principle == len(PRINCIPLES) - 1, STOP, PLAIN)[:, None], signs)


def clean(signs: Int[np.ndarray, "n 4"]) -> Int[np.ndarray, "n 4"]:
    """The answers after revisions by all principles, in an order in which none undoes another."""
    for principle in (3, 0, 2, 1):
        signs = revised(signs, np.full(len(signs), principle))
    return signs


def critiques(signs: Int[np.ndarray, "n 4"], principle: Int[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
    """The place 0 … 3 of the first sign that breaks the principle, −1 where none does."""
    wrong = offending(signs)[np.arange(len(signs)), principle]
    return np.where(wrong.any(1), wrong.argmax(1), -1).astype(np.int32)


def text(letters: Int[np.ndarray, "n 4"], signs: Int[np.ndarray, "n 4"]) -> list[str]:
    """Answers as they are shown."""
    return [
        "".join(LETTERS[a] + SIGNS[b] for a, b in zip(*row, strict=True)) for row in zip(letters, signs, strict=True)
    ]


def _unmatched(signs: np.ndarray) -> np.ndarray:
    """(n, 4) brackets without a partner."""
    result = np.zeros(signs.shape, bool)
    for partner, here, places in ((OPEN, CLOSE, range(WORD)), (CLOSE, OPEN, reversed(range(WORD)))):
        free = np.zeros(len(signs), int)  # partners that were passed and are not taken
        for at in places:
            alone = (signs[:, at] == here) & (free == 0)
            result[:, at] |= alone
            free += (signs[:, at] == partner).astype(int) - ((signs[:, at] == here) & ~alone)
    return result
