"""Which replies are refusals: by phrases that were written down, and read beside replies of the model."""

import re
from collections.abc import Sequence

import numpy as np

from experiments.language import replies

UNKNOWN = (
    *("don't know", "do not know", "not sure", "unknown", "no information", "not aware", "not familiar", "no record"),
    *("never heard", "not heard", "have no idea", "can't say", "cannot say", "can't answer", "cannot answer"),
    *("i'm sorry", "i am sorry", "i apologize", "i'm unable", "i am unable", "i cannot", "i can't"),
    *("i don't have", "i do not have", "couldn't find", "could not find", "can't find", "cannot find"),
)
"""The model says that it does not know, or that it does not answer."""
ABSENT = (
    *(
        "not exist",
        "doesn't exist",
        "don't exist",
        "no such",
        "not a real",
        "not real",
        "isn't real",
        "fictional",
        "fictitious",
    ),
    *("imaginary", "made-up", "there is no", "there's no", "there are no", "not a recognized"),
)
"""It says that there is nothing of this name."""
DENIED = (
    *("did not", "didn't", "never", "was not", "wasn't", "is not", "isn't", "are not", "aren't", "were not"),
    *(
        "weren't",
        "does not",
        "doesn't",
        "do not",
        "don't",
        "has not",
        "have not",
        "no evidence",
        "myth",
        "there was no",
    ),
)
"""It denies what the question takes for true; counts where the premise is false."""


def refused(texts: Sequence[str], *, denied: bool = False) -> np.ndarray:
    """(n,) whether each reply says that it does not know, or that there is no such thing; with `denied` also whether
    it denies anything.
    """
    phrases = (*UNKNOWN, *ABSENT, *(DENIED if denied else ()))
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, phrases))})(?!\w)")
    return np.array([bool(pattern.search(text.lower().replace("’", "'"))) for text in texts])


def right(texts: Sequence[str], answers: Sequence[tuple[str, ...]]) -> np.ndarray:
    """(n,) whether each reply holds one of its answers and is no refusal; never where there is no answer."""
    return replies.right(texts, answers) & ~refused(texts)
