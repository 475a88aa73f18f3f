"""Text copies: spans of texts that stand word for word in training texts, beside those of held-out texts.

Every text shares some span with a large corpus: names, phrases, quotations. Texts that were not trained on show how
long such spans are by chance; only what lies above that says that a model copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from gendiff.core import checks
from gendiff.metrics import proportions
from gendiff.metrics.bootstrap import Interval
from gendiff.provenance import extraction, verbatim_spans
from gendiff.provenance.verbatim_spans import Text, VerbatimSpans

TOKENS = 50
LARGEST_ID = 0x10FFFF


@dataclass(frozen=True)
class TextCopies:
    """Spans that texts share with training documents.

    Args:
        spans: the longest span of each text that one training document holds.
        held_by: (n,) how many training documents hold that span; 0 where it is shorter than `tokens`. An extracted span
            with count k is k-eidetic memorised: with 1 it can only come from one document.
        rate: share of texts with a span of at least `tokens`, with Wilson's interval.
        held_out_spans: those of the held-out texts; None without any.
        held_out_rate: their share. None without held-out texts.
        excess: rate minus held_out_rate, with Newcombe's interval: texts copy if its lower end is above 0. None without
            held-out texts.
        tokens: from how many on a span counts.
    """

    spans: VerbatimSpans
    held_by: Int64[np.ndarray, "n"]
    rate: Interval
    held_out_spans: VerbatimSpans | None
    held_out_rate: Interval | None
    excess: Interval | None
    tokens: int

    @property
    def copies(self) -> Int64[np.ndarray, "copies"]:
        """Indices of the texts with a span of at least `tokens`, the longest span first."""
        order = np.argsort(-self.spans.length, kind="stable")
        return order[self.spans.length[order] >= self.tokens]


def text_copies(
    texts: Sequence[Text],
    train: Sequence[Text],
    held_out: Sequence[Text] | None,
    *,
    tokens: int = TOKENS,
    confidence: float = 0.95,
) -> TextCopies:
    """Compare texts with the training texts, and with what held-out texts show.

    A longer text has more chances of a long span, so held-out texts should be about as long as the texts. Time and
    memory are those of `verbatim_spans.longest_verbatim_span`.

    Args:
        texts: of one kind: `str` (counted in characters), `bytes`, or integer arrays (s,) of ids; at least one.
        train: documents of the same kind.
        held_out: documents of the same source that were not trained on; None leaves what depends on them unknown.
        tokens: from how many on a span counts, >= 1. 50 tokens of a language model are about 200 characters.
        confidence: of the intervals, in (0, 1).

    Raises:
        TypeError: as `longest_verbatim_span`.
        ValueError: as `longest_verbatim_span`, without a text, and for numbers out of range.

    References:
        Carlini et al., 2021, Definition 2; Lee et al., 2022, section 4.2, for spans of 50 tokens (both from memory).
    """
    checks.integer("tokens", tokens, 1)
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    for name, group in (("texts", texts), ("held_out", held_out)):
        if group is not None and not len(group):
            raise ValueError(f"{name} holds no text")
    spans = verbatim_spans.longest_verbatim_span(texts, train)
    rate = proportions.share(spans.length >= tokens, confidence=confidence)
    beside = None if held_out is None else verbatim_spans.longest_verbatim_span(held_out, train)
    held_out_rate = None if beside is None else proportions.share(beside.length >= tokens, confidence=confidence)
    return TextCopies(
        spans=spans,
        held_by=_held_by(texts, train, spans, tokens),
        rate=rate,
        held_out_spans=beside,
        held_out_rate=held_out_rate,
        excess=None if held_out_rate is None else proportions.difference(rate, held_out_rate),
        tokens=tokens,
    )


def _held_by(texts: Sequence[Text], train: Sequence[Text], spans: VerbatimSpans, tokens: int) -> np.ndarray:
    counted = np.zeros(len(texts), np.int64)
    long = np.flatnonzero(spans.length >= tokens)
    if long.size:
        parts = [texts[row][spans.start[row] : spans.start[row] + spans.length[row]] for row in map(int, long)]
        counted[long] = extraction.eidetic(*([_letters(each) for each in group] for group in (parts, train)))
    return counted


def _letters(text: Text) -> str | bytes:
    """Ids as letters, so that Python's own search compares them one by one; other kinds stay as they are."""
    if isinstance(text, str | bytes):
        return text
    ids = np.asarray(text)
    if ids.size and ids.max() > LARGEST_ID:
        raise ValueError(f"an id of {ids.max()} is above {LARGEST_ID}: number the tokens anew, from 0 on")
    return ids.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
