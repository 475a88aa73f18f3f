"""Rows for instruction tuning, their packing, and a checker of batches. Also known as: supervised fine-tuning (SFT).

Responses and their end have weight 1, prompts 0. Packing cuts no text. The loss is that of any language model,
`language.objective.next_token`, with the weights of the rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Integer, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike

Ids = Sequence[int] | np.ndarray
PADDING = -1
"""The id of no token, which language models of this library read as padding."""


class Rows(NamedTuple):
    """Texts of one length.

    Attributes:
        tokens: ids, behind which padding stands.
        weight: 1 where a token is a target: those of responses and their end; 0 on prompts and padding.
    """

    tokens: Int32[np.ndarray, "b s"]
    weight: Float32[np.ndarray, "b s"]


class Packed(NamedTuple):
    """Several texts per row.

    Attributes:
        tokens: ids, behind which −1 stands.
        weight: as in `Rows`.
        segments: 0, 1, … the number of the text in its row, −1 on padding: what `networks.LanguageModel` takes as
            `segments`.
    """

    tokens: Int32[np.ndarray, "b s"]
    weight: Float32[np.ndarray, "b s"]
    segments: Int32[np.ndarray, "b s"]


def rows(prompts: Sequence[Ids], responses: Sequence[Ids], *, end: int, length: int, pad: int = PADDING) -> Rows:
    """Write each prompt, its response and the end as one row.

    The end is a target, so that the model learns to stop. Padding is none by its place and not by its id, so that `pad`
    may equal `end`.

    Args:
        prompts: ids of each prompt, at least one: the first token of a text is never predicted, so it cannot be a
            response's.
        responses: ids of each response, without the end; none is an empty one.
        end: id of the token that ends a response.
        length: s, tokens of a row.
        pad: id behind the texts: −1, which no network sees, or any id.

    Raises:
        ValueError: for unequal numbers of prompts and responses, an empty prompt, a negative id, a response that holds
            `end`, a text that holds another padding id, and one that with its end is longer than `length`: nothing is
            cut.
        TypeError: for ids that are no integers.
    """
    checks.integer("end", end, 0)
    checks.integer("pad", pad, PADDING)
    checks.integer("length", length, 2)
    if len(prompts) != len(responses):
        raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses: each prompt needs one response")
    result = Rows(np.full((len(prompts), length), pad, np.int32), np.zeros((len(prompts), length), np.float32))
    for number, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        _check_text(number, _ids(number, prompt), _ids(number, response), end, length, pad)
        prompt_length, stop = len(prompt), len(prompt) + len(response) + 1
        result.tokens[number, :stop] = [*prompt, *response, end]
        result.weight[number, prompt_length:stop] = 1
    return result


def packed(rows: Rows, length: int) -> Packed:
    """Put several texts into each row, first fit, the longest ones first: no text is cut, and none is lost.

    A network that is given the segments answers as it does to each text alone.
    `language.Texts(tokens, weight, segments=segments)` passes them on, and takes the first token of each text for no
    target.

    Args:
        rows: as `rows` makes them. A text reaches to its last weight above 0, which is that of its end.
        length: s, tokens of a packed row.

    Raises:
        ValueError: for a row without weight, and for a text longer than `length`.

    References:
        Johnson, 1973, for first fit decreasing (from memory).
    """
    checks.integer("length", length, 2)
    weighted = np.asarray(rows.weight) > 0
    if not weighted.any(1).all():
        raise ValueError(
            f"row {int(np.argmin(weighted.any(1)))} has no weight: nothing in it is learned, so leave it out"
        )
    lengths = weighted.shape[1] - np.argmax(weighted[:, ::-1], 1)
    if lengths.max(initial=0) > length:
        number = int(np.argmax(lengths))
        raise ValueError(
            f"row {number} has a text of {lengths[number]} tokens, and length = {length}: nothing is cut; use a longer "
            "one"
        )
    places = _first_fit(lengths, length)
    count = max((row for row, _, _ in places.values()), default=-1) + 1
    result = Packed(
        *(
            np.full((count, length), fill, dtype)
            for fill, dtype in ((PADDING, np.int32), (0, np.float32), (-1, np.int32))
        )
    )
    for number, (row, start, segment) in places.items():
        here = slice(start, start + lengths[number])
        result.tokens[row, here] = rows.tokens[number, : lengths[number]]
        result.weight[row, here] = rows.weight[number, : lengths[number]]
        result.segments[row, here] = segment
    return result


class _Text(NamedTuple):
    """One text, as the checker reads it."""

    row: int
    tokens: np.ndarray
    weight: np.ndarray
    length: int
    """Tokens before the padding, the end included where there is one."""
    ended: bool

    @property
    def learned(self) -> np.ndarray:
        """Places of the targets."""
        return np.flatnonzero(self.weight > 0)


def findings(
    tokens: Integer[ArrayLike, "b s"],
    weight: Shaped[ArrayLike, "b s"],
    *,
    end: int,
    pad: int = PADDING,
    segments: Integer[ArrayLike, "b s"] | None = None,
) -> tuple[str, ...]:
    """Look for the usual mistakes in a batch for instruction tuning, of this library or of any other.

    Args:
        tokens: (b, s) ids.
        weight: (b, s) how much each token counts as a target, as numbers or bool. Where a library aligns its labels
            with the tokens, it is `labels != -100`.
        end: id of the token that ends a response.
        pad: id behind the texts, which may equal `end`: the first one behind a text is then its end.
        segments: (b, s) ids of the texts of packed rows, a change of which begins a new text, negative on
            padding. None: a row is a text.

    Returns:
        One sentence per kind of mistake, with the number of texts and the first row; () where all is well. They are: an
        end without weight, weight on padding, a text without weight, weight on the first token, a response without its
        end, weights that look shifted by one.

    Raises:
        ValueError: for different shapes, and weights that are negative or NaN.
    """
    checks.integer("end", end, 0)
    checks.integer("pad", pad, PADDING)
    numbers = np.asarray(weight, np.float64)
    checks.same_shape("tokens", tokens, "weight", weight)
    checks.in_range("weight", numbers, 0.0, float("inf"))
    if segments is not None:
        checks.same_shape("tokens", tokens, "segments", segments)
    texts = _texts(np.asarray(tokens), numbers, end, pad, None if segments is None else np.asarray(segments))
    problems = {
        f"have no weight on their end ({end}): the model never learns to stop. Padding of the same id that is masked "
        "by its id does this": [
            text for text in texts if text.ended and len(text.learned) and not text.weight[text.length - 1] > 0
        ],
        f"have weight on padding ({pad}): the model learns to go on with it": [
            text for text in texts if _on_padding(text, end, pad).any() and not _moved_right(text)
        ],
        "have no weight at all: nothing in them is learned": [text for text in texts if not len(text.learned)],
        "have weight on their first token, which nothing predicts": [text for text in texts if text.weight[:1].any()],
        f"do not end with {end}: the response is cut, so its end is never learned": [
            text for text in texts if text.length and len(text.learned) and not text.ended
        ],
        "have weights that look moved by one to the right: they begin and end one token late": [
            text for text in texts if _moved_right(text)
        ],
        "have weights that look moved by one to the left, as labels of the next token are: they begin with the "
        "prompt's last token and leave the end out": _moved_left(texts),
    }
    return tuple(
        f"{len(wrong)} of {len(texts)} texts (the first in row {wrong[0].row}) {what}"
        for what, wrong in problems.items()
        if wrong
    )


def _texts(tokens: np.ndarray, weight: np.ndarray, end: int, pad: int, segments: np.ndarray | None) -> list[_Text]:
    result = []
    for row in range(len(tokens)):
        cuts = np.array([], int) if segments is None else np.flatnonzero(np.diff(segments[row])) + 1
        starts = [0, *cuts.tolist()]
        for start, stop in zip(starts, [*starts[1:], tokens.shape[1]], strict=True):
            empty = segments is not None and bool(segments[row][start] < 0)
            result.append(_text(row, tokens[row, start:stop], weight[row, start:stop], end, pad, empty))
    # padding between or behind packed texts is no text, unless something in it has weight
    return [text for text in result if text.length or segments is None or len(text.learned)]


def _text(row: int, tokens: np.ndarray, weight: np.ndarray, end: int, pad: int, empty: bool) -> _Text:
    inside = np.flatnonzero(tokens != pad)
    length = 0 if empty or not len(inside) else int(inside[-1]) + 1
    if pad == end and 0 < length < len(tokens):
        length += 1  # the first padding behind the text is its end
    return _Text(row, tokens, weight, length, length > 0 and bool(tokens[length - 1] == end))


def _on_padding(text: _Text, end: int, pad: int) -> np.ndarray:
    outside = np.arange(len(text.tokens)) >= text.length
    if pad != end:
        outside |= text.tokens == pad
    return outside & (text.weight > 0)


def _moved_right(text: _Text) -> bool:
    """Whether the last target is the one padding directly behind the end."""
    return text.ended and len(text.learned) > 0 and bool(text.learned[-1] == text.length)


def _moved_left(texts: list[_Text]) -> list[_Text]:
    """The texts that leave their end out, if all do and all begin with one token, which different ones follow."""
    suspects = [text for text in texts if text.ended and len(text.learned) and text.learned[-1] == text.length - 2]
    first = {int(text.tokens[text.learned[0]]) for text in suspects}
    second = {int(text.tokens[text.learned[0] + 1]) for text in suspects}
    alike = len(first) == 1 < len(second) and len(suspects) == len([text for text in texts if len(text.learned)])
    return suspects if alike else []


def _ids(number: int, values: Ids) -> np.ndarray:
    ids = np.asarray(values)
    if ids.size and (ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer)):
        raise TypeError(
            f"text {number} must be a sequence of integers, got {ids.dtype} of shape {ids.shape}: tokenize it first"
        )
    if ids.size and ids.min() < 0:
        raise ValueError(f"text {number} holds {ids.min()}: ids are at least 0")
    return ids


def _check_text(number: int, prompt: np.ndarray, response: np.ndarray, end: int, length: int, pad: int) -> None:
    if not prompt.size:
        raise ValueError(
            f"prompt {number} is empty: the first token of a text is never predicted; begin with a token for that"
        )
    if end in response:
        raise ValueError(f"response {number} holds end = {end}: leave it out, it is added")
    if pad != end and (pad in prompt or pad in response):
        raise ValueError(f"text {number} holds pad = {pad}: use another id, such as {PADDING}")
    needed = prompt.size + response.size + 1
    if needed > length:
        raise ValueError(
            f"text {number} has {needed} tokens with its end, and length = {length}: nothing is cut; shorten it or use "
            "more"
        )


def _first_fit(lengths: np.ndarray, length: int) -> dict[int, tuple[int, int, int]]:
    """(row, start, segment) of each text."""
    # tokens and texts of each row, as if there were one per text
    used, held = np.zeros(len(lengths), int), np.zeros(len(lengths), int)
    places = {}
    for number in np.argsort(-lengths, kind="stable"):
        row = int(np.argmax(used + lengths[number] <= length))
        places[int(number)] = row, int(used[row]), int(held[row])
        used[row] += lengths[number]
        held[row] += 1
    return places
