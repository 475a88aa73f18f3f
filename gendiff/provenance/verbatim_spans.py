"""The longest part of each text that stands in a corpus word for word.

It is exact: every window of 1, 2, 4, … tokens gets a rank that only equal windows share, from the ranks of its halves
(the doubling of Manber and Myers). The ranks of the longest windows are a suffix array. The longest match of a place in
a text begins at a neighbour of it in that array, and its length is read from the ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from gendiff.core.types import ArrayLike

Text = str | bytes | ArrayLike | Sequence[int]
"""A text in characters, in bytes, or as ids (s,) of tokens."""


@dataclass(frozen=True)
class VerbatimSpans:
    """The longest span of each text that a corpus holds.

    Args:
        length: (n,) tokens of the span; 0 where no token of the text occurs.
        start: (n,) where it begins in the text: the first one among equally long ones.
        document: (n,) a document that holds it, −1 for none.
        place: (n,) where it begins in that document, −1 for none.
    """

    length: Int64[np.ndarray, "n"]
    start: Int64[np.ndarray, "n"]
    document: Int64[np.ndarray, "n"]
    place: Int64[np.ndarray, "n"]


def longest_verbatim_span(texts: Sequence[Text], documents: Sequence[Text]) -> VerbatimSpans:
    """Find the longest span of each text that occurs within one document.

    For N tokens in all texts and documents, and texts of at most s tokens, it takes N log N log s steps and about 9
    (log2 s + 8) N bytes: 0.17 GB and a few seconds for a corpus of a million bytes and texts of 1,000.

    Args:
        texts: of one kind: `str` (counted in characters), `bytes`, or integer arrays (s,) of ids, at least 0.
        documents: as many as there are, of the same kind.

    Raises:
        TypeError: for texts of different kinds, and of no kind that is known.
        ValueError: without a document, for arrays of other shapes, and for ids below 0.

    References:
        Manber & Myers, 1993 (from memory).
    """
    if not len(documents):
        raise ValueError("documents holds no text: there is no corpus to compare with")
    parts = _ids([*documents, *texts])
    known, longest = len(documents), max([len(part) for part in parts[len(documents) :]], default=0)
    joined, starts = _joined(parts)
    levels = _ranks(joined, max(longest, 1))
    begin = int(starts[known]) if len(parts) > known else len(joined)
    length, match = _longest_matches(levels, begin)
    spans = [
        _best(length, match, int(starts[number]) - begin, len(parts[number])) for number in range(known, len(parts))
    ]
    matches = np.array(spans, np.int64).reshape(-1, 3)
    hit = matches[:, 0] > 0
    document = np.where(hit, np.searchsorted(starts, matches[:, 2], side="right") - 1, -1)
    return VerbatimSpans(matches[:, 0], matches[:, 1], document, np.where(hit, matches[:, 2] - starts[document], -1))


def _ids(texts: Sequence[Text]) -> list[np.ndarray]:
    kinds = {str if isinstance(text, str) else bytes if isinstance(text, bytes) else np.ndarray for text in texts}
    if len(kinds) > 1:
        raise TypeError(
            f"texts and documents are of different kinds: {', '.join(sorted(kind.__name__ for kind in kinds))}"
        )
    return [_numbers(text).astype(np.int64) for text in texts]


def _numbers(text: Text) -> np.ndarray:
    if isinstance(text, str):
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    if isinstance(text, bytes):
        return np.frombuffer(text, np.uint8)
    ids = np.asarray(text, None if len(text) else np.int64)
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"a text must be str, bytes or an array of integers, got {ids.dtype}")
    if ids.ndim != 1 or (ids.size and ids.min() < 0):
        raise ValueError(f"a text of ids must be (s,) with ids of at least 0, got shape {ids.shape}")
    return ids


def _joined(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All parts in one line, each with an id behind it that stands nowhere else, and where each begins."""
    _, ids = np.unique(np.concatenate(parts), return_inverse=True)
    ends = np.cumsum([len(part) for part in parts])
    line = np.insert(ids.reshape(-1), ends, len(ids) + np.arange(len(parts)))
    return line, ends - [len(part) for part in parts] + np.arange(len(parts))


def _ranks(line: np.ndarray, longest: int) -> list[np.ndarray]:
    """For windows of 1, 2, 4, … tokens, up to `longest` or more: ranks by position, equal for equal windows."""
    levels = [np.unique(line, return_inverse=True)[1].reshape(-1)]
    while (size := 1 << (len(levels) - 1)) < longest:
        last = levels[-1]
        behind = np.zeros_like(last)
        behind[:-size] = last[size:] + 1  # a window that would leave the line holds an id that stands nowhere else
        levels.append(np.unique(last * (len(last) + 1) + behind, return_inverse=True)[1].reshape(-1))
    return levels


def _longest_matches(levels: list[np.ndarray], begin: int) -> tuple[np.ndarray, np.ndarray]:
    """For each place from `begin` on: how many tokens also stand before `begin`, and a place where they do."""
    order = np.argsort(levels[-1], kind="stable")
    corpus = order < begin
    number = np.arange(len(order))
    before = np.maximum.accumulate(np.where(corpus, number, -1))
    after = np.minimum.accumulate(np.where(corpus, number, len(order))[::-1])[::-1]
    queries = np.flatnonzero(~corpus)
    best, match = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    for side in (before[queries], after[queries]):
        there = (side >= 0) & (side < len(order))
        mine, other = order[queries[there]], order[side[there]]
        common = _common(levels, mine, other)
        longer = common > best[mine]
        best[mine[longer]], match[mine[longer]] = common[longer], other[longer]
    return best[begin:], match[begin:]


def _common(levels: list[np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many tokens from two places on are equal, less than twice the longest windows."""
    length = np.zeros(len(first), np.int64)
    last = len(levels[0]) - 1
    for level in range(len(levels) - 1, -1, -1):
        one, other = first + length, second + length
        equal = (one <= last) & (other <= last)
        equal &= levels[level][np.minimum(one, last)] == levels[level][np.minimum(other, last)]
        length += np.where(equal, 1 << level, 0)
    return length


def _best(length: np.ndarray, match: np.ndarray, start: int, size: int) -> tuple[int, int, int]:
    if not size:
        return 0, 0, -1
    at = int(np.argmax(length[start : start + size]))
    return int(length[start + at]), at, int(match[start + at])
