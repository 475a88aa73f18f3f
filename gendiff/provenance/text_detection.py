"""Detection of text watermarks from tokens and the key alone: exact p-values, windows of mixed documents, and payloads.

A p-value is the chance that a text which was written without the key scores at least as high. It is not the chance that
a text is marked, or is not: that needs how often marked texts are met. Only distinct choices count, each once: a text
that repeats itself would score the same choice many times, and its score would be far more spread than the law says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float64, Int, Int64, Shaped, UInt32

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike
from gendiff.provenance import keyed_hash, text_watermarks
from gendiff.provenance.text_watermarks import GreenList, TextWatermark


@dataclass(frozen=True)
class Detection:
    """Scores and p-values of texts under a key.

    Args:
        z: (b,) the score above its mean for unmarked texts, in standard deviations.
        p: (b,) the exact chance of such a score, or a higher one, without the mark; 1 where nothing is scored.
        scored: (b,) how many distinct choices were scored.
    """

    z: Float64[np.ndarray, "b"]
    p: Float64[np.ndarray, "b"]
    scored: Int64[np.ndarray, "b"]


@dataclass(frozen=True)
class Window:
    """The part of a text with the smallest p-value.

    Args:
        start: its first token.
        stop: the token behind its last one.
        z: of this window alone.
        p: for the whole search: the window's own p-value times the number of windows (Bonferroni), at most 1. It is an
            upper bound.
    """

    start: int
    stop: int
    z: float
    p: float


@dataclass(frozen=True)
class Payload:
    """Digits that a text carries.

    Args:
        digits: (b, d) the likeliest ones.
        p: (b, d) a bound on the chance of so many votes for any digit without the mark.
        votes: (b, d, colours) choices for each digit.
    """

    digits: Int64[np.ndarray, "b d"]
    p: Float64[np.ndarray, "b d"]
    votes: Int64[np.ndarray, "b d colours"]


def scores(
    mark: TextWatermark, tokens: Int[ArrayLike, "*batch s"]
) -> tuple[Shaped[Array, "*batch scored"], UInt32[Array, "*batch scored 2"]]:
    """The value of each token from the width-th on, and its choice: equal choices are one.

    A pure function under jit and vmap.

    Args:
        mark: built by one of `text_watermarks`.
        tokens: (…, s) ids; values behind the end of a text mean nothing.
    """
    state = _states(mark, jnp.asarray(tokens))
    return mark.values(state)[..., 0], jnp.stack(state, -1)[..., 0, :]


def detect(mark: TextWatermark, tokens: Int[ArrayLike, "b s"], *, start: int | Int[ArrayLike, "b"] = 0) -> Detection:
    """Test texts for a watermark.

    Args:
        mark: the record that marked them, or one made of the same key and settings. A payload that it names is tested
            too.
        tokens: (b, s) ids, behind whose end −1 stands.
        start: () or (b,) tokens that are not scored and only stand before the others, such as a prompt.

    Raises:
        TypeError: for tokens that are no integers.
        ValueError: for ids outside of the vocabulary, −1 within a text, and numbers out of range.
    """
    gains = [mark.gains(values) for _, values, _ in _distinct(mark, tokens, start)]
    scored = np.array([len(gain) for gain in gains], np.int64)
    z, p = mark.law(np.array([gain.sum() for gain in gains]), scored)
    return Detection(z, p, scored)


def detect_windows(
    mark: TextWatermark,
    tokens: Int[ArrayLike, "b s"],
    *,
    lengths: Sequence[int] = (50, 100, 200, 400),
    start: int | Int[ArrayLike, "b"] = 0,
) -> list[Window | None]:
    """Find the marked part of each document that may hold unmarked text too.

    Args:
        mark: as of `detect`.
        tokens: (b, s) as of `detect`.
        lengths: scored choices of a window; windows longer than a text are left out.
        start: as of `detect`.

    Returns:
        One window per text, or None for a text that is shorter than all of them.

    Raises:
        TypeError: as `detect`.
        ValueError: as `detect`, and without lengths.
    """
    if not lengths:
        raise ValueError("lengths names no window")
    for length in lengths:
        checks.integer("a length", length, 1)
    return [_best(mark, places, values, sorted(set(lengths))) for places, values, _ in _distinct(mark, tokens, start)]


def read_payload(
    mark: GreenList, tokens: Int[ArrayLike, "b s"], digits: int, *, start: int | Int[ArrayLike, "b"] = 0
) -> Payload:
    """Read the digits that a green list with a payload wrote, without knowing them.

    Args:
        mark: its key and settings; a payload that it names is not looked at.
        tokens: (b, s) as of `detect`.
        digits: how many there are.
        start: as of `detect`.

    Raises:
        TypeError: as `detect`, and for a mark without green lists.
        ValueError: as `detect`.
    """
    if not isinstance(mark, GreenList):
        raise TypeError(f"only green lists carry a payload, got {type(mark).__name__}")
    checks.integer("digits", digits, 1)
    step = int(text_watermarks.threshold(np.float32(mark.gamma)))
    colours, share = text_watermarks.colours(mark.gamma), step / 2**32
    votes = np.zeros((len(tokens), digits, colours), np.int64)
    counts = np.zeros((len(tokens), digits), np.int64)
    for row, (_, _, choices) in enumerate(_distinct(mark, tokens, start)):
        state = jnp.asarray(choices[:, 0]), jnp.asarray(choices[:, 1])
        digit, colour = np.asarray(text_watermarks.places(state, digits)), np.asarray(keyed_hash.word(state)) // step
        np.add.at(counts[row], digit, 1)
        np.add.at(votes[row], (digit[colour < colours], colour[colour < colours]), 1)
    most = votes.max(-1)
    p = np.minimum(1.0, colours * scipy.stats.binom.sf(most - 1, counts, share))
    return Payload(votes.argmax(-1), np.where(counts == 0, 1.0, p), votes)


def _states(mark: TextWatermark, tokens: Array) -> tuple[Array, Array]:
    """The hashes (…, s − width, 1) of the tokens that have enough before them."""
    count = max(tokens.shape[-1] - mark.width, 0)
    before = [tokens[..., offset : offset + count] for offset in range(mark.width)]
    stacked = jnp.stack(before, -1) if before else jnp.zeros((*tokens.shape, 0), tokens.dtype)
    return mark.states(stacked, tokens[..., mark.width :, None])


_scores = jax.jit(scores)


def _evaluated(mark: TextWatermark, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`scores` of texts, which are padded to a power of 2 so that few programs serve all lengths."""
    size = arrays.power_of_two(rows.shape[1], 16)
    padded = np.full((len(rows), size), -1, np.int32)
    padded[:, : rows.shape[1]] = rows
    values, choices = _scores(mark, padded)
    return np.asarray(values), np.asarray(choices)


def _texts(mark: TextWatermark, tokens: ArrayLike, start: int | ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    rows = np.asarray(tokens)
    if not np.issubdtype(rows.dtype, np.integer):
        raise TypeError(f"tokens must be integers, got {rows.dtype}")
    if rows.ndim != 2:
        raise ValueError(f"tokens must be (b, s), got shape {rows.shape}")
    if rows.size and (rows.min() < -1 or rows.max() >= mark.vocabulary):
        raise ValueError(
            f"tokens lie in {rows.min()} … {rows.max()}, but the watermark is for ids 0 … {mark.vocabulary - 1}: "
            "was another tokenizer used?"
        )
    if np.any((rows[:, :-1] < 0) & (rows[:, 1:] >= 0)):
        raise ValueError("-1 stands within a text: it may stand behind its end alone")
    checks.in_range("start", start, 0.0, np.inf)
    return rows.astype(np.int32), np.broadcast_to(np.asarray(start, np.int64), len(rows))


def _distinct(
    mark: TextWatermark, tokens: ArrayLike, start: int | ArrayLike
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each text, the scored choices without repetitions, in order: their positions, values and choices."""
    rows, first = _texts(mark, tokens, start)
    for row, begin, values, choices in zip(rows, first, *_evaluated(mark, rows), strict=True):
        scored = np.arange(max(int(begin) - mark.width, 0), max(int(np.sum(row >= 0)) - mark.width, 0))
        _, at = np.unique(choices[scored].astype(np.uint64) @ np.array([2**32, 1], np.uint64), return_index=True)
        positions = scored[np.sort(at)]
        yield positions + mark.width, values[positions], choices[positions]


def _best(mark: TextWatermark, places: np.ndarray, values: np.ndarray, lengths: Sequence[int]) -> Window | None:
    total = np.concatenate([[0.0], np.cumsum(mark.gains(values))])
    begins = [np.arange(max(len(places) - length + 1, 0)) for length in lengths]
    count = np.repeat(lengths, [len(each) for each in begins])
    if not count.size:
        return None
    begin = np.concatenate(begins)
    z, p = mark.law(total[begin + count] - total[begin], count)
    best = np.lexsort((-z, p))[0]
    first, last = places[begin[best]], places[begin[best] + count[best] - 1]
    return Window(int(first), int(last) + 1, float(z[best]), min(1.0, float(p[best]) * len(p)))
