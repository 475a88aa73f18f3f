"""Texts as ids of words, and ids of words as rows of one length, as the text encoders of diffusers read them."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32

from gendiff.core import tokenizing

if TYPE_CHECKING:
    import tokenizers

SUFFIX = "</w>"
"""What the last piece of each word ends with, in the vocabulary of CLIP."""


@dataclasses.dataclass(frozen=True, eq=False)
class RowTokenizer:
    """Texts as ids of words, and ids of words as rows of one length.

    `clip_tokenizer.load` and `t5_tokenizer.load` build it.

    Attributes:
        library: the `tokenizers.Tokenizer`.
        length: tokens of a row: 77 for CLIP.
        start: id that begins a row, or None where nothing does.
        end: id that ends one.
        padding: id that fills up what is left.
    """

    library: "tokenizers.Tokenizer"
    length: int
    start: int | None
    end: int
    padding: int

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return int(max(self.library.get_vocab(with_added_tokens=True).values())) + 1

    @property
    def before(self) -> tuple[int, ...]:
        """Ids that begin a row."""
        return () if self.start is None else (self.start,)

    @property
    def room(self) -> int:
        """Ids of words that a row has place for."""
        return self.length - 1 - len(self.before)

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without those that begin and end a row. An empty text has none.

        Raises:
            TypeError: for what is no text.
            ValueError: for more than 8192 characters, or a half of a character.
        """
        tokenizing.checked("text", text)
        return list(tokenizing.encoded(self.library, text).ids)

    def row(self, ids: Sequence[int]) -> Int32[np.ndarray, " s"]:
        """The row of at most `room` ids of words.

        Raises:
            ValueError: for more of them.
        """
        if len(ids) > self.room:
            raise ValueError(f"{len(ids)} ids do not fit into a row, which has room for {self.room}")
        filled = (*self.before, *ids, self.end)
        row = np.full(self.length, self.padding, np.int32)
        row[: len(filled)] = filled
        return row

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids of words."""
        text: str = self.library.decode(list(ids), skip_special_tokens=False)
        return text.replace(SUFFIX, " ").strip()
