"""Prompts as arrays: rows of 77 tokens, one or several for a text, with a weight for each token."""

import warnings
from collections.abc import Sequence

import numpy as np

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike
from gendiff.data.texts.row_tokenizer import RowTokenizer
from gendiff.data.texts.tokenizer import SHOWN, TruncationWarning
from gendiff.pipelines.stable_diffusion import prompt_weights

TOO_LONG = ("chunks", "warn", "error")
SHORTEST = 32
"""Tokens of the shortest row that is cut; longer ones are twice as long, and twice again, so that few programs serve
all prompts.
"""
PADDING = -1
"""Fills up a row that was cut. An encoder that leaves padding out takes every id below 0 for it."""


@records.record
class Prompt:
    """Texts as text encoders take them. They are data: one compiled program serves all prompts with as many rows.

    Attributes:
        ids: (b, n, s) of each tower: n rows of s tokens for each text.
        weights: (b, n, s) of each tower; 1 leaves a token as it is.
        empty: (1, s) of each tower, the row of the empty text.
        blank: (b,) whether a text is replaced by zeros, as Stable Diffusion XL does with a negative prompt that is
            empty.
    """

    ids: tuple[ArrayLike, ...]
    weights: tuple[ArrayLike, ...]
    empty: tuple[ArrayLike, ...]
    blank: ArrayLike

    @property
    def rows(self) -> int:
        """How many rows each text has in the first tower."""
        return self.ids[0].shape[1]


def encode(
    tokenizers: Sequence[RowTokenizer],
    texts: Sequence[str],
    *,
    weighted: bool = True,
    too_long: str = "chunks",
    zeros_for_empty: bool = False,
    padded: bool = True,
) -> Prompt:
    """Turn texts into a Prompt.

    Args:
        tokenizers: one for each tower.
        texts: at least one; they get as many rows as the longest of them needs. Tokenizers of equally long rows give
            as many.
        weighted: whether "(words:1.3)" are weights (see `prompt_weights.parse`), or letters.
        too_long: what happens to a text with more tokens than one row has room for: "chunks" goes on in further rows,
            "warn" leaves the end out and says so, "error" refuses it.
        zeros_for_empty: whether a text without letters is replaced by zeros behind the encoders.
        padded: whether rows have their full length. False cuts them behind the words, to a power of two of tokens, for
            models that leave padding out: their padding is below 0.

    Raises:
        TypeError: for what is no list of texts.
        ValueError: for no text, an unknown `too_long`, a text that is too long with "error", and as
            `prompt_weights.parse` does.

    Warns:
        TruncationWarning: for each text whose end is left out.
    """
    checks.choice("too_long", too_long, TOO_LONG)
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"texts must be a list of texts, got {type(texts).__name__}: write [text] for one")
    if not texts or not tokenizers:
        raise ValueError(f"{len(texts)} texts for {len(tokenizers)} tokenizers: at least one of each is needed")
    parts = [prompt_weights.parse(text) if weighted else ((text, 1.0),) for text in texts]
    towers = [[_rows(tokenizer, each, too_long) for each in parts] for tokenizer in tokenizers]
    read = list(zip(tokenizers, towers, strict=True))
    most = {
        length: max(len(rows) for tokenizer, tower in read if tokenizer.length == length for rows in tower)
        for length in {tokenizer.length for tokenizer in tokenizers}
    }
    filled = [_filled(tokenizer, tower, most[tokenizer.length], padded) for tokenizer, tower in read]
    return Prompt(
        tuple(ids for ids, _ in filled),
        tuple(weights for _, weights in filled),
        tuple(tokenizer.row([])[None, : ids.shape[-1]] for tokenizer, (ids, _) in zip(tokenizers, filled, strict=True)),
        np.array([zeros_for_empty and not text.strip() for text in texts]),
    )


def aligned(*prompts: Prompt) -> tuple[Prompt, ...]:
    """The prompts with as many rows as the longest, as guidance needs: further rows are those of the empty text.

    Rows that were cut are filled up to the longest.
    """
    towers = list(zip(*(prompt.ids for prompt in prompts), strict=True))
    most = [(max(ids.shape[1] for ids in tower), max(ids.shape[2] for ids in tower)) for tower in towers]
    return tuple(_longer(prompt, most) for prompt in prompts)


def repeated(prompt: Prompt, times: int) -> Prompt:
    """Each text so many times in a row: for several pictures of each prompt."""
    checks.integer("times", times, 1)

    def each(values: tuple[ArrayLike, ...]) -> tuple[np.ndarray, ...]:
        return tuple(np.repeat(value, times, axis=0) for value in values)

    return Prompt(each(prompt.ids), each(prompt.weights), prompt.empty, np.repeat(prompt.blank, times))


def _rows(tokenizer: RowTokenizer, parts: Sequence[tuple[str, float]], too_long: str) -> list[list[tuple[int, float]]]:
    """The tokens of one text with their weights, row by row."""
    tokens = [(token, weight) for words, weight in parts for token in tokenizer.ids(words)]
    room = tokenizer.room
    if len(tokens) > room and too_long != "chunks":
        rest = tokenizer.text([token for token, _ in tokens[room:]])
        excerpt = rest if len(rest) <= SHOWN else f"{rest[:SHOWN]}…"
        message = f"a prompt has {len(tokens)} tokens and {room} are read: {excerpt!r} does not fit"
        if too_long == "error":
            raise ValueError(f"{message}; shorten it, or take too_long = 'chunks'")
        warnings.warn(f"{message} and is left out", TruncationWarning, stacklevel=4)
        tokens = tokens[:room]
    return [tokens[begin : begin + room] for begin in range(0, max(len(tokens), 1), room)]


def _filled(
    tokenizer: RowTokenizer, texts: list[list[list[tuple[int, float]]]], most: int, padded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(ids, weights), each (b, most, s), cut behind the words unless padded."""
    ids = np.broadcast_to(tokenizer.row([]), (len(texts), most, tokenizer.length)).copy()
    weights = np.ones(ids.shape, np.float32)
    for text, rows in enumerate(texts):
        for number, row in enumerate(rows):
            ids[text, number] = tokenizer.row([token for token, _ in row])
            begin = len(tokenizer.before)
            weights[text, number, begin : begin + len(row)] = [weight for _, weight in row]
    end = tokenizer.length if padded else _end(ids)
    return ids[..., :end], weights[..., :end]


def _end(ids: np.ndarray) -> int:
    """How many tokens rows keep that are cut."""
    used, most, length = int(np.max(np.sum(ids >= 0, -1))), int(ids.shape[-1]), SHORTEST
    while length < used:
        length *= 2
    return min(length, most)


def _longer(prompt: Prompt, most: Sequence[tuple[int, int]]) -> Prompt:
    ids, weights, empties = [], [], []
    for old, strength, empty, (count, length) in zip(prompt.ids, prompt.weights, prompt.empty, most, strict=True):
        more = (old.shape[0], count - old.shape[1], old.shape[2])
        further = [(0, 0), (0, 0), (0, length - old.shape[2])]
        rows = np.concatenate([old, np.broadcast_to(empty[:, None], more)], 1)
        ids.append(np.pad(rows, further, constant_values=PADDING))
        weights.append(np.pad(np.concatenate([strength, np.ones(more, np.float32)], 1), further, constant_values=1))
        empties.append(np.pad(empty, further[1:], constant_values=PADDING))
    return Prompt(tuple(ids), tuple(weights), tuple(empties), prompt.blank)
