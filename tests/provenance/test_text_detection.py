"""P-values are exact: for texts of any kind, whatever the key, and for parts and payloads."""

import functools

import jax
import numpy as np
import pytest
import scipy.stats

from gendiff.provenance import text_detection, text_watermarks
from tests.provenance.rig import KEY, MARKS, V, repetitive, unmarked, written
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

NULLS = 1000
NULL_KEYS = np.random.default_rng(9).integers(0, 2**63, NULLS)


@functools.cache
def nulls(name, kind):
    """(z, values and choices) of one text per random key."""
    rows = {"random": unmarked, "repetitive": repetitive}[kind](NULLS, 100, seed=4)
    mark = MARKS[name]()
    words = np.stack([NULL_KEYS >> 32, NULL_KEYS & 0xFFFFFFFF], -1).astype(np.uint32)

    def one(words, row):
        fields = {field: getattr(mark, field) for field in mark.__dataclass_fields__}
        return text_detection.scores(type(mark)(**fields | {"words": words}), row)

    values, choices = map(np.asarray, quickly(jax.vmap(one))(words, rows))
    return mark, values, choices


def scored(name, kind, distinct=True):
    """Scores of the texts, and of how many choices."""
    mark, values, choices = nulls(name, kind)
    chosen = [
        row[np.unique(choice, axis=0, return_index=True)[1]] if distinct else row
        for row, choice in zip(values, choices, strict=True)
    ]
    return np.array([mark.gains(row).sum() for row in chosen]), np.array([len(row) for row in chosen])


@table("kind", ["random", "repetitive"])
@table("name", MARKS)
def test_scores_of_unmarked_texts_have_the_law_over_random_keys(name, kind):
    """Z has mean 0 and deviation 1; what is discrete is spread over its steps, and then uniform."""
    mark, (score, count) = MARKS[name](), scored(name, kind)
    z, p = mark.law(score, count)
    assert abs(z.mean()) < 4 / NULLS**0.5 and 0.9 < z.std() < 1.1
    if name != "gumbel":
        share, number = (0.5, 30 * count) if name == "tournament" else (float(mark.gamma), count)
        p = p - np.random.default_rng(6).random(NULLS) * scipy.stats.binom.pmf(score, number, share)
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3


def test_counting_a_choice_each_time_it_comes_would_break_the_law():
    z, _ = MARKS["green list"]().law(*scored("green list", "repetitive", distinct=False))
    assert z.std() > 1.3


def test_detect_is_the_law_of_distinct_choices():
    rows = repetitive(3, 100)
    mark = MARKS["green list"]()
    values, choices = quickly(text_detection.scores)(mark, rows)
    for row in range(3):
        _, at = np.unique(np.asarray(choices)[row], axis=0, return_index=True)
        pairs = {tuple(pair) for pair in np.stack([rows[row, :-1], rows[row, 1:]], -1).tolist()}
        result = text_detection.detect(mark, rows[row : row + 1])
        assert result.scored == len(at) == len(pairs)
        assert (result.z[0], result.p[0]) == mark.law(mark.gains(np.asarray(values)[row, at]).sum(), len(at))


def test_the_marked_part_of_a_document_is_found_and_an_unmarked_document_is_not():
    mark = text_watermarks.green_list(KEY, 500)
    part = np.asarray(written(jax.random.key(1), mark, np.zeros((1, 500), np.float32), 120))[0]
    document = unmarked(1, 900, vocabulary=500)[0]
    document[400:520] = part
    window, clean = text_detection.detect_windows(
        mark, np.stack([document, unmarked(1, 900, 8, 500)[0]]), lengths=(60, 120)
    )
    assert window.p < 1e-6 and abs(window.start - 400) < 15 and abs(window.stop - 520) < 15
    assert clean.p > 0.01
    assert text_detection.detect(mark, document[None]).p[0] > window.p
    assert text_detection.detect_windows(mark, document[None, :50], lengths=(60,)) == [None]


def test_the_bound_of_windows_holds_over_random_keys():
    rows = unmarked(1, 150)
    p = [
        text_detection.detect_windows(text_watermarks.green_list(int(key), V), rows, lengths=(20, 40))[0].p
        for key in NULL_KEYS[:200]
    ]
    assert np.mean(np.array(p) < 0.1) <= 0.1 + 3 * (0.1 * 0.9 / 200) ** 0.5


def test_digits_are_read_back_and_unmarked_texts_have_none():
    digits = (3, 0, 2, 1, 1)
    mark = text_watermarks.green_list(KEY, 2000, payload=digits)
    rows = np.asarray(written(jax.random.key(2), mark, np.zeros((4, 2000), np.float32), 400))
    read = text_detection.read_payload(text_watermarks.green_list(KEY, 2000), rows, 5)
    assert np.array_equal(read.digits, np.tile(digits, (4, 1))) and np.all(read.p < 1e-3)
    assert np.array_equal(read.votes.sum((1, 2)), text_detection.detect(mark, rows).scored)
    assert np.all(text_detection.detect(mark, rows).p < 1e-10)
    other = text_watermarks.green_list(KEY, 2000, payload=(0, 1, 3, 2, 0))
    assert np.all(text_detection.detect(other, rows).p > 1e-4)
    most, count = read.votes.max(-1), read.votes.sum(-1)
    np.testing.assert_allclose(
        read.p, np.minimum(1, 4 * scipy.stats.binom.sf(most - 1, count, 0.25))
    )  # as many votes or more, of any digit
    bounds = text_detection.read_payload(
        text_watermarks.green_list(KEY, 2000), unmarked(100, 400, vocabulary=2000), 5
    ).p
    assert np.mean(bounds < 0.1) < 0.1 + 3 * (0.09 / bounds.size) ** 0.5


def test_the_largest_digit_is_read_back_where_float32_rounds_gamma_up():
    mark = text_watermarks.green_list(KEY, 2000, gamma=0.2, payload=(4, 0, 2))
    rows = np.asarray(written(jax.random.key(2), mark, np.zeros((2, 2000), np.float32), 400))
    read = text_detection.read_payload(mark, rows, 3)
    assert np.array_equal(read.digits, np.tile((4, 0, 2), (2, 1))) and np.all(read.p < 1e-3)


@pytest.mark.parametrize("width", [0, 1, 3])
def test_tokens_are_scored_from_the_start_on_and_a_window_pays_for_all_that_were_looked_at(width):
    mark, row = text_watermarks.green_list(KEY, 64, width=width), np.arange(20)[None]  # whose choices are all different
    for start in (0, 1, 3, 5, 19, 20, 25):
        assert text_detection.detect(mark, row, start=start).scored == max(20 - max(start, width), 0)
    marks = (text_watermarks.green_list(KEY + number, 64, width=width) for number in range(200))
    both = ((mark, *text_detection.detect_windows(mark, row, lengths=(5, 8, 8), start=4)) for mark in marks)
    mark, window = next(pair for pair in both if pair[1].p < 0.5)
    alone = text_detection.detect(mark, row[:, : window.stop], start=window.start)
    assert alone.scored in (5, 8)
    assert window.p == pytest.approx(
        min(1, alone.p[0] * (16 - 5 + 1 + 16 - 8 + 1)), rel=1e-12
    ) and window.z == pytest.approx(alone.z[0])


MARK = MARKS["green list"]()
test_ids_of_another_tokenizer_are_refused = pytest.mark.fault("watermarks: tokens of another tokenizer")(
    refusals(
        (
            lambda: text_detection.detect(MARK, np.array([[1, 64]])),
            "1 … 64, but the watermark is for ids 0 … 63.*another tokenizer",
        )
    )
)
test_what_is_no_text_is_refused = refusals(
    (lambda: text_detection.detect(MARK, np.zeros((1, 4))), "must be integers", TypeError),
    (lambda: text_detection.detect(MARK, np.zeros(4, int)), r"\(b, s\)"),
    (lambda: text_detection.detect(MARK, np.array([[1, -1, 2]])), "within a text"),
    (lambda: text_detection.detect(MARK, np.array([[1, 2]]), start=-1), "start = -1"),
    (lambda: text_detection.detect_windows(MARK, np.array([[1, 2]]), lengths=()), "no window"),
    (lambda: text_detection.detect_windows(MARK, np.array([[1, 2]]), lengths=(0,)), "a length = 0"),
    (lambda: text_detection.read_payload(MARKS["gumbel"](), np.array([[1, 2]]), 2), "only green lists", TypeError),
    (lambda: text_detection.read_payload(MARK, np.array([[1, 2]]), 0), "digits = 0"),
)
