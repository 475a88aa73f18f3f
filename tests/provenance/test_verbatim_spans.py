"""Spans are those of a search by hand, for all kinds of texts and corpora."""

import numpy as np

from gendiff.provenance import verbatim_spans
from gendiff.provenance.verbatim_spans import longest_verbatim_span
from tests.refusals import refusals
from tests.tables import table


def by_hand(text, documents):
    """(length, start) of the longest part of a text that a document holds, the first one."""
    for length in range(len(text), 0, -1):
        for start in range(len(text) - length + 1):
            if any(text[start : start + length] in document for document in documents):
                return length, start
    return 0, 0


def random_texts(rng, letters, count, most):
    return [bytes(rng.integers(97, 97 + letters, rng.integers(0, most + 1)).astype(np.uint8)) for _ in range(count)]


@table("letters", [1, 2, 4, 20])
@table("seed", range(4))
def test_spans_are_those_of_a_search_by_hand(letters, seed):
    rng = np.random.default_rng(seed)
    documents, texts = random_texts(rng, letters, 5, 40), random_texts(rng, letters + 1, 12, 17)
    spans = longest_verbatim_span(texts, documents)
    assert [(length, start) for length, start in zip(spans.length, spans.start, strict=True)] == [
        by_hand(text, documents) for text in texts
    ]
    for row in np.flatnonzero(spans.length):
        text, held = texts[row][spans.start[row] :], documents[spans.document[row]][spans.place[row] :]
        assert text[: spans.length[row]] == held[: spans.length[row]]
    assert np.all((spans.document == -1) == (spans.length == 0)) and np.all((spans.place == -1) == (spans.length == 0))


def test_a_whole_document_is_found_and_no_span_crosses_two():
    documents = [b"the cat", b" sat on", b"the mat"]
    spans = longest_verbatim_span([b"the cat sat on", b"the mat", b""], documents)
    assert (
        spans.length.tolist() == [7, 7, 0]
        and spans.document.tolist() == [0, 2, -1]
        and spans.start.tolist() == [0, 0, 0]
    )


def test_text_bytes_and_ids_agree_and_characters_count_once():
    documents, texts = ["naïve café 🙂!", "abc"], ["a café 🙂", "zabz"]
    as_text = longest_verbatim_span(texts, documents)
    as_ids = longest_verbatim_span(
        [np.array([ord(c) for c in t]) for t in texts], [np.array([ord(c) for c in d]) for d in documents]
    )
    assert as_text.length.tolist() == as_ids.length.tolist() == [7, 2]
    assert longest_verbatim_span([t.encode() for t in texts], [d.encode() for d in documents]).length.tolist() == [
        11,
        2,
    ]


def test_the_order_of_documents_changes_no_length():
    rng = np.random.default_rng(7)
    documents, texts = random_texts(rng, 3, 20, 50), random_texts(rng, 3, 20, 30)
    first = longest_verbatim_span(texts, documents)
    second = longest_verbatim_span(texts, [documents[at] for at in rng.permutation(20)])
    np.testing.assert_array_equal(first.length, second.length)
    np.testing.assert_array_equal(first.start, second.start)


def test_an_empty_list_of_ids_is_a_text():
    assert longest_verbatim_span([[], [1]], [[1, 2]]).length.tolist() == [0, 1]


test_what_is_no_text_is_refused = refusals(
    (lambda: longest_verbatim_span(["a"], []), "no corpus"),
    (lambda: longest_verbatim_span(["a"], [b"a"]), "different kinds: bytes, str", TypeError),
    (lambda: longest_verbatim_span([np.zeros(2)], [np.zeros(2, int)]), "array of integers", TypeError),
    (lambda: longest_verbatim_span([np.array([1, -1])], [np.zeros(2, int)]), "at least 0"),
    (lambda: verbatim_spans.longest_verbatim_span([np.zeros((1, 2), int)], [np.zeros(2, int)]), r"must be \(s,\)"),
)
