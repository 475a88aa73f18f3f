"""Spans that texts share with training texts."""

import numpy as np

from gendiff.provenance import text_copies
from tests.refusals import refusals

RNG = np.random.default_rng(0)


def words(count, length=60):
    return [RNG.integers(0, 50, length) for _ in range(count)]


TRAIN, FRESH, HELD_OUT = words(12), words(8), words(10)


def planted():
    """Text 2 holds 20 tokens of document 5, and text 6 holds 31 of document 0, which document 9 holds too."""
    texts, train = [text.copy() for text in FRESH], [text.copy() for text in TRAIN]
    texts[2][10:30] = train[5][40:60]
    texts[6][:31] = train[0][5:36]
    train[9][-31:] = train[0][5:36]
    return texts, train


def test_planted_spans_are_found_where_they_are_and_in_how_many_documents():
    texts, train = planted()
    report = text_copies.text_copies(texts, train, HELD_OUT, tokens=20)
    assert report.copies.tolist() == [6, 2] and report.held_by.tolist() == [0, 0, 1, 0, 0, 0, 2, 0]
    assert report.spans.length[[6, 2]].tolist() == [31, 20] and report.spans.start[[6, 2]].tolist() == [0, 10]
    assert report.rate.value == 2 / 8 and report.held_out_rate.value == 0 and report.excess.value == 2 / 8
    assert report.held_out_spans.length.max() < 20 and report.rate.low < 2 / 8 < report.rate.high


def test_ids_letters_and_bytes_of_the_same_texts_give_the_same():
    texts, train = planted()
    kinds = [
        [[kind(text) for text in group] for group in (texts, train)]
        for kind in (np.asarray, lambda text: bytes(text.tolist()))
    ]
    kinds.append([["".join(map(chr, text + 40)) for text in group] for group in (texts, train)])
    reports = [text_copies.text_copies(*pair, None, tokens=20) for pair in kinds]
    assert all(
        report.held_by.tolist() == reports[0].held_by.tolist() and report.rate == reports[0].rate for report in reports
    )
    assert reports[0].held_out_rate is None and reports[0].excess is None and reports[0].held_out_spans is None


def test_the_order_of_the_training_texts_changes_no_rate_and_training_texts_are_copies_of_themselves():
    texts, train = planted()
    one, other = (text_copies.text_copies(texts, documents, HELD_OUT, tokens=4) for documents in (train, train[::-1]))
    assert (one.rate, one.excess, one.held_by.tolist()) == (other.rate, other.excess, other.held_by.tolist())
    assert text_copies.text_copies(TRAIN[:3], TRAIN, None, tokens=60).rate.value == 1.0


test_texts_that_cannot_be_compared_are_refused = refusals(
    (lambda: text_copies.text_copies([], ["a"], None), "texts holds no text"),
    (lambda: text_copies.text_copies(["a"], ["a"], []), "held_out holds no text"),
    (lambda: text_copies.text_copies(["a"], [], None), "documents holds no text"),
    (lambda: text_copies.text_copies(["a"], ["a"], None, tokens=0), "tokens = 0"),
    (lambda: text_copies.text_copies(["a"], ["a"], None, confidence=0.0), "confidence = 0"),
    (lambda: text_copies.text_copies(["a"], [b"a"], None), "of different kinds", TypeError),
    (lambda: text_copies.text_copies([np.array([2**22])], [np.array([2**22])], None, tokens=1), "is above 1114111"),
)
