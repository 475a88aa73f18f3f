"""Rankings of two replies that differ in one thing: the better one encourages, names what was spoken of, and advises;
the other one lacks one of these.

Each sentence has a short and a long wording, and ends with a full stop or an exclamation mark. Both sides have each of
these equally often with each of the other side, so neither length nor style says which reply is better.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.preferences.rlhf_language.requests import RANKED, Request

Wordings = tuple[tuple[str, str], ...]
"""A short and a long wording of each sentence."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two replies to a request, of which the first one is better. lacks: what the second one does not do."""

    request: Request
    better: str
    worse: str
    lacks: str


@dataclasses.dataclass(frozen=True)
class Sentences:
    """praise and advice are what a better reply has; coldness and idleness stand in their places in a worse one."""

    praise: Wordings
    coldness: Wordings
    advice: Wordings
    idleness: Wordings


def wordings(text: str) -> Wordings:
    """A sentence in each line, short and long."""
    lines = (line.split(" | ") for line in text.strip().splitlines())
    return tuple((short, long) for short, long in lines)


TAUGHT = Sentences(
    wordings("""
That is a great plan | I think that this is really a great plan
How wonderful to hear | It is so wonderful to hear that from you today
You can do it | I am quite sure that you can do it
I am proud of you | I want to say that I am proud of you
What an exciting idea | What a bold and exciting idea you have there
"""),
    wordings("""
That is a poor plan | I think that this is really a poor plan
How tiresome to hear | It is so tiresome to hear that from you today
You cannot do it | I am quite sure that you cannot do it
I am tired of you | I want to say that I am tired of you
What a boring idea | What a dull and boring idea you have there
"""),
    wordings("""
Start by reading about {} | You could start by reading a few pages about {}
Find a good book about {} | Try to find a good book with pictures about {}
Ask a friend about {} | You should ask a friend who knows a lot about {}
Make a short plan for {} | You could sit down and make a short plan for {}
"""),
    wordings("""
Some people write about {} | There are some people who have written pages about {}
There is a good book about {} | Somewhere there is a good book with pictures about {}
My friend talks about {} | I have a friend who has often talked about {}
Others have a plan for {} | Others sit down and already have a short plan for {}
"""),
)
"""Of the rankings that a reward model learns."""
NEW = Sentences(
    wordings("""
Congratulations on that | Let me offer you my warm congratulations on that
You will do well | I do believe that you will do well with it
This is a fantastic goal | It seems that this is truly a fantastic goal
"""),
    wordings("""
Shame on that | Let me tell you of my deep shame on that
You will do badly | I do believe that you will do badly with it
This is a foolish goal | It seems that this is truly a foolish goal
"""),
    wordings("""
Watch a film about {} | Take an evening to watch a short film about {}
Take notes about {} | It is best to take a few notes each day about {}
"""),
    wordings("""
There was a film about {} | One evening there was a short film on television about {}
My aunt has notes about {} | My aunt has had a few notes in her desk about {}
"""),
)
"""Of the rankings that the reward model is judged by, with other words."""
FORMS = tuple(itertools.product((False, True), repeat=4))
"""Of the better reply, then of the worse one: is it long, and does it end with exclamation marks?"""


def pairs(rng: np.random.Generator, asked_for: Sequence[Request], sentences: Sentences) -> Iterator[Pair]:
    """Of each request one for each thing that a reply may lack. Every form is as frequent as the others, up to one."""
    for lacks in RANKED:
        forms = rng.permutation(np.arange(len(asked_for)) % len(FORMS))
        for request, form in zip(asked_for, forms, strict=True):
            yield pair(rng, request, asked_for, sentences, lacks, FORMS[form])


def pair(
    rng: np.random.Generator,
    request: Request,
    others: Sequence[Request],
    sentences: Sentences,
    lacks: str,
    form: tuple[bool, bool, bool, bool],
) -> Pair:
    """One of them; a reply that does not name its subject speaks of that of another request."""
    strangers = [each.subject for each in others if each.name != request.name]
    praise, coldness, advice, idleness = (
        each[rng.integers(len(each))]
        for each in (sentences.praise, sentences.coldness, sentences.advice, sentences.idleness)
    )
    stranger, turned = strangers[rng.integers(len(strangers))], bool(rng.integers(2))
    worse = (
        coldness if lacks == "encourages" else praise,
        stranger if lacks == "names" else request.subject,
        idleness if lacks == "advises" else advice,
    )
    better = (praise, request.subject, advice)
    first, second = (_reply(*each, turned, *form[at : at + 2]) for each, at in ((better, 0), (worse, 2)))
    return Pair(request, first, second, lacks)


def of_length(rng: np.random.Generator, asked_for: Sequence[Request], sentences: Sentences) -> Iterator[Pair]:
    """Two wordings of one reply, the long one in the place of the better one: half of the replies are good ones."""
    for number, request in enumerate(asked_for):
        good = number % 2 == 0
        first, second = (
            each[rng.integers(len(each))]
            for each in ((sentences.praise, sentences.advice) if good else (sentences.coldness, sentences.idleness))
        )
        turned, loud = rng.integers(2, size=2).astype(bool)
        long, short = (_reply(first, request.subject, second, turned, size, loud) for size in (True, False))
        yield Pair(request, long, short, "")


def longer(ranked: Sequence[Pair]) -> np.ndarray:
    """(n,) 1 where the better reply has more words, 0 where it has fewer, and one half for a tie."""
    counts = np.array([[len(text.split()) for text in (each.better, each.worse)] for each in ranked])
    return (np.sign(counts[:, 0] - counts[:, 1]) + 1) / 2


def _reply(first: tuple[str, str], subject: str, second: tuple[str, str], turned: bool, long: bool, loud: bool) -> str:
    texts = [first[long], second[long].format(subject)]
    return " ".join(f"{text}{'!' if loud else '.'}" for text in (texts[::-1] if turned else texts))
