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

    `clip_tokenizer.load`, `t5_tokenizer.load` and `chat_row_tokenizer.load` build it.

    Attributes:
        library: the `tokenizers.Tokenizer`.
        length: tokens of a row: 77 for CLIP.
        before: ids that begin a row.
        after: ids that end one.
        padding: id that fills up what is left.
    """

    library: "tokenizers.Tokenizer"
    length: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return int(max(self.library.get_vocab(with_added_tokens=True).values())) + 1

    @property
    def end(self) -> int:
        """The first id behind a text."""
        return self.after[0]

    @property
    def room(self) -> int:
        """Ids of words that a row has place for."""
        return self.length - len(self.before) - len(self.after)

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
        filled = (*self.before, *ids, *self.after)
        row = np.full(self.length, self.padding, np.int32)
        row[: len(filled)] = filled
        return row

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids of words."""
        text: str = self.library.decode(list(ids), skip_special_tokens=False)
        return text.replace(SUFFIX, " ").strip()
