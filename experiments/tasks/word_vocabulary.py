"""A vocabulary of whole words, for texts of few different words: captions, questions and answers. It is made of the
texts themselves.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int32, Integer

from gendiff.core import checks

END = 0
"""The token behind each text."""
PADDING = -1
"""What fills up a row behind its text: no token."""
_PIECES = re.compile(r" ?\w+| ?[^\w\s]|\s")


@dataclasses.dataclass(frozen=True)
class WordVocabulary:
    """Texts as rows of tokens and back, exactly. `vocabulary` builds it.

    A text is read as if a space stood before it, and a word has its space before it. So "red" is the same token
    wherever it stands.

    Args:
        words: of token 1, 2, …; token 0 is the end of a text.
    """

    words: tuple[str, ...]

    def __len__(self) -> int:
        """How many tokens there are, END included."""
        return len(self.words) + 1

    def encode(self, texts: Sequence[str], length: int, *, end: bool = True) -> Int32[np.ndarray, "n l"]:
        """Write texts as tokens.

        Args:
            texts: (n,).
            length: of the rows, >= 1.
            end: whether END stands behind each text. Prompts that go on have none.

        Returns:
            (n, length) tokens 0 … len(self) - 1, and PADDING (-1) behind each text.

        Raises:
            ValueError: for a word that is not in the vocabulary, and a text that is longer than a row.
        """
        checks.integer("length", length, 1)
        rows = np.full((len(texts), length), PADDING, np.int32)
        for number, text in enumerate(texts):
            tokens = [self._token(number, piece) for piece in _pieces(text)] + [END] * end
            if len(tokens) > length:
                raise ValueError(f"text {number} has {len(tokens)} tokens, more than length = {length}: {text!r}")
            rows[number, : len(tokens)] = tokens
        return rows

    def decode(self, tokens: Integer[np.ndarray, "n l"]) -> list[str]:
        """Write tokens as texts, each up to its END or its padding.

        Args:
            tokens: (n, l) 0 … len(self) - 1, or PADDING.

        Raises:
            TypeError: for tokens that are no integers.
            ValueError: for other numbers.
        """
        checks.ids("tokens", tokens, len(self), also=PADDING)
        stops = [np.flatnonzero(row <= END) for row in tokens]
        return [
            "".join(self.words[token - 1] for token in row[: stop[0] if len(stop) else None]).removeprefix(" ")
            for row, stop in zip(tokens, stops, strict=True)
        ]

    def _token(self, number: int, piece: str) -> int:
        if piece not in self._numbers:
            raise ValueError(
                f"text {number} holds {piece.strip() or piece!r}, none of the {len(self.words)} words of this "
                "vocabulary"
            )
        return self._numbers[piece]

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words, start=1)}


def vocabulary(texts: Iterable[str]) -> WordVocabulary:
    """Build the vocabulary of all words of some texts, in the order of their letters."""
    return WordVocabulary(tuple(sorted({piece for text in texts for piece in _pieces(text)})))


def longest(texts: Iterable[str]) -> int:
    """Count the tokens of the longest text, its END included: the least `length` of rows."""
    return max((len(_pieces(text)) for text in texts), default=0) + 1


def _pieces(text: str) -> list[str]:
    return _PIECES.findall(f" {text}")
