"""Texts as ids of tokens, by the `tokenizer.json` of an encoder; a text that is too long is never cut silently."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from gendiff.core import checks, tokenizing
from gendiff.core.arrays import ArrayLike
from gendiff.core.errors import DataError
from gendiff.core.types import Config

if TYPE_CHECKING:
    import tokenizers

TOO_LONG = ("error", "warn")
SHOWN = 60


class Tokens(NamedTuple):
    """Texts as an encoder takes them.

    Attributes:
        ids: of the tokens, those that begin and end a text included, then padding.
        mask: true where a token is none of the padding.
        truncated: true where the end of the text is left out.
        unknown: number of tokens of each text that stand for what the vocabulary cannot write.
    """

    ids: Int32[ArrayLike, "b s"]
    mask: Bool[ArrayLike, "b s"]
    truncated: Bool[np.ndarray, " b"]
    unknown: Int32[np.ndarray, " b"]


class TruncationWarning(UserWarning):
    """The end of a text is left out, since the encoder reads no more tokens."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """Calling it turns texts into `Tokens` of one length. `load` builds it.

    Also known as: byte-pair encoding (BPE), WordPiece.

    Attributes:
        library: the `tokenizers.Tokenizer`, without padding or truncation of its own.
        length: tokens of each text.
        padding: id that fills up short texts.
        unknown: id of what the vocabulary cannot write, or None where it can write everything.
        too_long: what happens to a text with more tokens: "error" or "warn".
    """

    library: "tokenizers.Tokenizer"
    length: int
    padding: int
    unknown: int | None
    too_long: str

    def __call__(self, texts: Sequence[str], *, allow_empty: bool = False) -> Tokens:
        """Turn texts into tokens.

        Args:
            texts: a list of them.
            allow_empty: take texts without words, as the unconditional half of guidance does; otherwise they are an
                error.

        Raises:
            TypeError: for what is no list of texts.
            ValueError: for an empty text, one of more than 8192 characters, and one with more tokens than `length`
                unless `too_long` is "warn".

        Warns:
            TruncationWarning: for each text whose end is left out, which it shows.
        """
        _check(texts, allow_empty)
        ids = np.full((len(texts), self.length), self.padding, np.int32)
        mask, truncated, unknown = np.zeros(ids.shape, bool), np.zeros(len(texts), bool), np.zeros(len(texts), np.int32)
        for number, text in enumerate(texts):
            row, truncated[number], unknown[number] = self._row(number, text)
            ids[number, : len(row)], mask[number, : len(row)] = row, True
        return Tokens(ids, mask, truncated, unknown)

    def _row(self, number: int, text: str) -> tuple[list[int], bool, int]:
        """(ids, whether the text is truncated, how many of them are unknown) of one text."""
        bare = tokenizing.encoded(self.library, text)
        room = self.length - self.library.num_special_tokens_to_add(False)
        count, truncated = len(bare.ids), len(bare.ids) > room
        if truncated:
            rest = text[bare.offsets[room][0] :]
            self._say(number, count, room, rest)
            bare.truncate(room)
        unknown = bare.ids.count(self.unknown) if self.unknown is not None else 0
        return self.library.post_process(bare).ids, truncated, unknown

    def _say(self, number: int, count: int, room: int, rest: str) -> None:
        excerpt = rest if len(rest) <= SHOWN else f"{rest[:SHOWN]}…"
        message = (
            f"text {number} has {count} tokens and {room} are read (length = {self.length}): {excerpt!r} does not fit"
        )
        if self.too_long == "error":
            raise ValueError(
                f"{message}; shorten the text, or load the tokenizer with too_long='warn' to leave the end out"
            )
        warnings.warn(f"{message} and is left out", TruncationWarning, stacklevel=4)


def load(path: str | Path, length: int, *, padding: str | None = None, too_long: str = "error") -> Tokenizer:
    """Read a tokenizer.json.

    Args:
        path: the file, or the folder that holds it.
        length: tokens of each text, those that begin and end it included: at most the positions of the encoder (77 for
            CLIP).
        padding: the token that fills up short texts. None: the one that the file names. CLIP's file names none: it is
            "<|endoftext|>" for ViT-L/14 and "!" for OpenCLIP's ViT-H/14.
        too_long: what happens to a text with more tokens: "error" refuses it, "warn" leaves its end out and says so.

    Raises:
        ImportError: without the package of the extra `text`.
        DataError: for a missing file, one that is no tokenizer.json, and one that names no padding where none is given.
        ValueError: for a length with room for no word, an unknown padding or `too_long`.
    """
    tokenizers = tokenizing.package("text")
    checks.choice("too_long", too_long, TOO_LONG)
    file = Path(path) / tokenizing.NAME if Path(path).is_dir() else Path(path)
    stored = tokenizing.stored(file)
    if not isinstance(stored.get("model"), dict):
        raise DataError(f"{file}: not a {tokenizing.NAME}: it has no model with a vocabulary")
    library = tokenizing.opened(tokenizers, file, stored)
    checks.integer("length", length, library.num_special_tokens_to_add(False) + 1)
    return Tokenizer(
        library, length, _padding_id(file, library, stored, padding), _unknown_id(library, stored), too_long
    )


def _padding_id(file: Path, library: "tokenizers.Tokenizer", stored: Config, padding: str | None) -> int:
    token = padding if padding is not None else (stored.get("padding") or {}).get("pad_token")
    if token is None:
        raise DataError(
            f"padding = None, and {file} names no token that fills up short texts: give one, such as '<|endoftext|>' "
            "of CLIP"
        )
    result: int | None = library.token_to_id(token)
    if result is None:
        raise (DataError if padding is None else ValueError)(f"padding = {token!r} is no token of {file}")
    return result


def _unknown_id(library: "tokenizers.Tokenizer", stored: Config) -> int | None:
    """None for byte-level BPE, which spells out every character, whatever its file says."""
    token = stored["model"].get("unk_token")
    return None if token is None or stored["model"].get("type") == "BPE" else library.token_to_id(token)


def _check(texts: Sequence[str], allow_empty: bool) -> None:
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"texts must be a list of texts, got {type(texts).__name__}: write [text] for one")
    for number, text in enumerate(texts):
        if not allow_empty and not text.strip():
            raise ValueError(
                f"text {number} is empty: {text!r}; write what it shows, or pass allow_empty=True for no condition"
            )
        tokenizing.checked(f"text {number}", text)
