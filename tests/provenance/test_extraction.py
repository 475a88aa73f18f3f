"""Exposure by its exact law, greedy extraction as a decoder does it, counts and rankings by hand."""

import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.provenance import extraction
from tests.refusals import refusals

RNG = np.random.default_rng(0)


def test_exposure_of_an_enumeration_is_its_definition():
    everything = RNG.permutation(64).astype(float)
    exposures = extraction.exposure(everything, everything, enumerated=True)
    np.testing.assert_allclose(exposures, 6 - np.log2(64 - everything))
    # the middle rank
    assert np.all(extraction.exposure(np.zeros(5), np.zeros(5), enumerated=True) == np.log2(5) - np.log2(3))


def test_exposure_of_unseen_canaries_averages_log2_e():
    """Over all ranks it is exact; over draws it is within 4 standard errors."""
    size = 1024
    ranks = np.arange(1, size + 1)
    exact = np.mean(np.log2(size) - np.log2(ranks))
    assert extraction.UNSEEN == pytest.approx(1.4427, abs=1e-4) and exact == pytest.approx(extraction.UNSEEN, abs=0.01)
    exposures = [extraction.exposure(RNG.normal(size=1), RNG.normal(size=size - 1))[0] for _ in range(1500)]
    assert abs(np.mean(exposures) - exact) < 4 * np.std(exposures) / 1500**0.5


def test_a_sample_of_candidates_bounds_exposure():
    exposures = extraction.exposure(np.array([9.0, -9.0, 0.0]), RNG.uniform(-1, 1, 255))
    assert exposures[0] == 8 and exposures[1] == 0 and 0 < exposures[2] < 8
    np.testing.assert_array_equal(
        extraction.exposure(np.array([9.0, 0.0]), np.arange(8.0)[::-1]),
        extraction.exposure(np.array([9.0, 0.0]), np.arange(8.0)),
    )


def test_discoverable_extraction_is_what_greedy_decoding_writes():
    table = RNG.normal(size=(4, 4, 4))
    logits = lambda tokens: jnp.asarray(table[np.asarray(tokens), np.roll(tokens, 1, 1)])  # noqa: E731  # two tokens decide
    texts = RNG.integers(0, 4, (12, 8))
    for position in range(3, 8):
        texts[:, position] = table[texts[:, position - 1], texts[:, position - 2]].argmax(-1)
    result = extraction.discoverable(logits, texts, 3)
    assert result.extracted.all() and (result.matched == 5).all()
    texts[4, 5] = (texts[4, 5] + 1) % 4  # the third token of the suffix
    changed = extraction.discoverable(logits, texts, 3)
    assert not changed.extracted[4] and changed.matched[4] == 2 and changed.extracted.sum() == 11


def test_a_text_counts_once_per_document_that_holds_it():
    documents = [b"abcabc", b"xbcx", b""]
    assert extraction.eidetic([b"bc", b"abc", b"cb"], documents).tolist() == [2, 1, 0]
    assert extraction.eidetic(["é"], ["café", "cafe"]).tolist() == [1]


def test_rankings_put_what_only_the_model_finds_likely_first():
    texts = [b"a" * 40, b"the quick brown fox", b"q8Zk0pLx"]
    scores = extraction.extraction_scores(
        np.array([0.5, 2.0, 0.1]), texts, smaller=np.array([0.5, 2.2, 3.0]), lower_case=np.array([0.5, 2.0, 4.0])
    )
    assert {name: int(np.argmax(values)) for name, values in scores.items()} == dict.fromkeys(
        ("perplexity", "zlib", "smaller", "lower_case"), 2
    )
    assert scores["zlib"][0] == len(zlib.compress(texts[0])) / 0.5 and scores["smaller"][1] == pytest.approx(1.1)
    assert set(extraction.extraction_scores(np.ones(3), texts)) == {"perplexity", "zlib"}


TEXT = np.zeros((2, 4), np.int32)
test_what_cannot_be_extracted_is_refused = refusals(
    (lambda: extraction.exposure(np.zeros(0), np.zeros(3)), r"canaries must be \(n,\)"),
    (lambda: extraction.exposure(np.zeros(1), np.array([np.nan])), "none of them NaN"),
    (lambda: extraction.exposure(np.ones(1), np.zeros(3), enumerated=True), "lacks a canary"),
    (lambda: extraction.discoverable(lambda t: t, TEXT, 4), r"prefix = 4 is outside \[1, 3\]"),
    (lambda: extraction.discoverable(lambda t: t, TEXT[0], 1), r"\(texts, tokens\)"),
    (lambda: extraction.discoverable(lambda t: t, TEXT, 1), "predict answered shape"),
    (lambda: extraction.discoverable(lambda t: jnp.zeros((*t.shape, 3)), TEXT + 3, 1), "tokens holds 3"),
    (lambda: extraction.eidetic([b""], [b"a"]), "empty"),
    (lambda: extraction.extraction_scores(np.zeros(1), [b"a"]), "nll = "),
    (lambda: extraction.extraction_scores(np.ones(2), [b"a"]), "must be equal"),
)
