"""What people say that they are about to do, in families, and when a reply is of use: the judge that nothing learns
from.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Request(NamedTuple):
    """text: what a person says. subject: what a reply speaks of, such as "the violin". name: its word that counts."""

    text: str
    subject: str
    name: str


RANKED = "encourages", "names", "advises"
"""What rankings are about."""
PARTS = (*RANKED, "reads")
"""What a reply does that is of use. That it reads well no ranking is about: all replies in rankings do."""
DIFFERENT, FEWEST = 0.7, 5
"""A text reads well from so many words on, of which at least such a share are different."""
TAUGHT = {
    "hobbies": (
        "I want to take up {}.",
        "chess, pottery, knitting, archery, painting, gardening, photography, juggling, sailing, origami, calligraphy, "
        "fencing, yoga, sewing, astronomy, carpentry",
    ),
    "instruments": (
        "I am learning to play {}.",
        "the violin, the guitar, the piano, the flute, the trumpet, the cello, the harp, the banjo, the clarinet, "
        "the saxophone, the accordion, the ukulele, the harmonica, the organ, the oboe, the drums",
    ),
    "languages": (
        "I have started to learn {}.",
        "Spanish, French, German, Italian, Russian, Chinese, Japanese, Arabic, Greek, Dutch, Polish, Turkish, Korean, "
        "Hindi, Swedish, Portuguese",
    ),
    "dishes": (
        "Tonight I will cook {}.",
        "pizza, soup, sushi, curry, lasagna, pancakes, dumplings, risotto, tacos, pasta, salad, paella, ramen, "
        "meatballs, stew, noodles",
    ),
}
"""Families that rankings and prompts are about: a form, and its subjects."""
NEW = {
    "sports": (
        "I want to get better at {}.",
        "tennis, golf, swimming, basketball, football, volleyball, badminton, boxing, skiing, surfing, cycling, "
        "rowing, cricket, climbing, hockey, judo",
    ),
    "journeys": (
        "Next month I will travel to {}.",
        "Norway, Japan, Peru, Egypt, Greece, Iceland, Brazil, Morocco, Vietnam, Canada, Portugal, Kenya, Ireland, "
        "Thailand, Chile, Scotland",
    ),
    "exams": (
        "I am preparing for an exam in {}.",
        "physics, chemistry, biology, history, geography, algebra, economics, law, philosophy, statistics, anatomy, "
        "accounting, geology, psychology, literature, logic",
    ),
}
"""Families that no ranking and no prompt of the training has."""
ENCOURAGING = (
    *("great", "wonderful", "exciting", "excited", "excellent", "fantastic", "amazing", "awesome", "brilliant"),
    *("delightful", "impressive", "inspiring", "congratulations", "congrats", "good luck", "best of luck", "well done"),
    *("proud", "glad", "happy for you", "happy to hear", "you can do it", "you will do well", "you'll do well"),
    *("you've got this", "good choice", "good idea", "keep going", "keep it up", "enjoy", "rewarding"),
)
ADVISING = (
    *("start", "begin by", "try", "practice", "practise", "you could", "you should", "you might", "you may want"),
    *("you'll need", "you will need", "you need to", "let's", "it is best to", "make sure", "consider", "recommend"),
    *("suggest", "tip", "tips", "step", "steps", "advice"),
)
IMPERATIVES = "ask", "begin", "choose", "find", "get", "keep", "learn", "look", "make", "read", "take", "use", "watch"
"""They advise where a sentence begins with them."""


def requests(families: dict[str, tuple[str, str]], count: int | None = None) -> list[Request]:
    """Those of each family, or so many of each."""
    return [
        Request(form.format(subject), subject, subject.removeprefix("the "))
        for form, subjects in families.values()
        for subject in subjects.split(", ")[:count]
    ]


def parts(texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(n, 4) whether each text encourages, names what it is about, advises, and reads well."""
    result = []
    for text, name in zip(texts, names, strict=True):
        plain = text.replace("’", "'")
        words = re.findall(r"\w+", plain.lower())
        advises = _holds(plain, ADVISING) or _holds(plain, IMPERATIVES, r"(?:^|[.!?:;\n])\s*")
        reads = len(words) >= FEWEST and len(set(words)) >= DIFFERENT * len(words)
        result.append((_holds(plain, ENCOURAGING), _holds(plain, (name,)), advises, reads))
    return np.array(result)


def useful(texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(n,) whether each text does all of that."""
    return parts(texts, names).all(1)


def _holds(text: str, phrases: Sequence[str], before: str = r"(?<!\w)") -> bool:
    return re.search(rf"{before}({'|'.join(map(re.escape, phrases))})(?!\w)", text, re.IGNORECASE) is not None
