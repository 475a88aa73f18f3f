"""Rows of prompts and responses, what packing keeps, and mistakes that the checker finds, one finding each."""

import re

import numpy as np

from gendiff.preferences import instruction
from tests.refusals import refusals
from tests.tables import table

END, PAD, ANSWER = 9, -1, 5
"""Prompts end with ANSWER, as those of a chat template end with its marker."""
RNG = np.random.default_rng(0)
PROMPTS = [[*RNG.integers(10, 20, size=RNG.integers(1, 5)).tolist(), ANSWER] for _ in range(12)]
RESPONSES = [RNG.integers(20, 30, size=size).tolist() for size in (1, 4, 2, 3, 1, 5, 2, 2, 3, 4, 1, 2)]
ROWS = instruction.rows(PROMPTS, RESPONSES, end=END, length=14)


def test_a_row_is_prompt_response_end_and_padding_and_response_and_end_are_targets():
    tokens, weight = instruction.rows([[1, 2], [3]], [[4], []], end=END, length=5)
    np.testing.assert_array_equal(tokens, [[1, 2, 4, 9, -1], [3, 9, -1, -1, -1]])
    np.testing.assert_array_equal(weight, [[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]])


def test_the_end_is_a_target_and_padding_is_none_where_both_are_one_id():
    tokens, weight = instruction.rows(PROMPTS, RESPONSES, end=END, length=14, pad=END)
    np.testing.assert_array_equal(weight, ROWS.weight)
    np.testing.assert_array_equal(tokens, np.where(ROWS.tokens == PAD, END, ROWS.tokens))
    assert instruction.findings(tokens, weight, end=END, pad=END) == ()


@table("length", [14, 20, 100])
def test_packed_rows_hold_every_text_once_whole_with_its_weights(length):
    packed = instruction.packed(ROWS, length)
    texts = []
    for row in range(len(packed.tokens)):
        for segment in range(packed.segments[row].max() + 1):
            (places,) = np.nonzero(packed.segments[row] == segment)
            assert np.all(np.diff(places) == 1)
            texts.append((packed.tokens[row, places].tolist(), packed.weight[row, places].tolist()))
    lengths = (ROWS.tokens != PAD).sum(1)
    expected = [
        (tokens[:n].tolist(), weight[:n].tolist())
        for tokens, weight, n in zip(ROWS.tokens, ROWS.weight, lengths, strict=True)
    ]
    assert sorted(texts) == sorted(expected)
    padding = packed.segments < 0
    assert np.all(packed.tokens[padding] == PAD) and not packed.weight[padding].any()
    assert instruction.findings(packed.tokens, packed.weight, end=END, segments=packed.segments) == ()


def test_first_fit_takes_the_longest_texts_first():
    rows = instruction.rows([[1] * size for size in (1, 4, 3, 2)], [[]] * 4, end=END, length=6)  # 2, 5, 4 and 3 tokens
    np.testing.assert_array_equal(instruction.packed(rows, 7).segments, [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1]])


def changed(**changes):
    return {"tokens": ROWS.tokens, "weight": ROWS.weight, "end": END} | changes


def moved(by):
    return np.roll(ROWS.weight, by, 1)  # the last column holds no weight


def without(places):
    return np.where(places, 0, ROWS.weight)


SAME_ID = np.where(ROWS.tokens == PAD, END, ROWS.tokens)
FIRST = np.arange(14) == 0
CUT = np.where(ROWS.tokens == END, PAD, ROWS.tokens)
PACKED = instruction.packed(ROWS, 20)
MISTAKES = {
    "padding masked by the id of the end": (
        changed(tokens=SAME_ID, weight=without(SAME_ID == END), pad=END),
        "12 of 12.*weight on their end",
    ),
    "weight on padding": (changed(weight=np.where(ROWS.tokens == PAD, 1, ROWS.weight)), "have weight on padding"),
    "a row without weight": (
        changed(weight=without(np.arange(12)[:, None] == 3)),
        "1 of 12 texts .*row 3.* no weight at all",
    ),
    "weight on the first token": (changed(weight=np.where(FIRST, 1, ROWS.weight)), "weight on their first token"),
    "a response without its end": (changed(tokens=CUT, weight=without(ROWS.tokens == END)), "do not end with 9"),
    "weights one late": (changed(weight=moved(1)), "12 of 12.* moved by one to the right"),
    "the end of packed texts lost": (
        {
            "tokens": PACKED.tokens,
            "weight": np.where(PACKED.tokens == END, 0, PACKED.weight),
            "end": END,
            "segments": PACKED.segments,
        },
        "12 of 12 texts .* no weight on their end",
    ),
}


@table("mistake", MISTAKES)
def test_each_mistake_has_its_own_finding(mistake):
    batch, words = MISTAKES[mistake]
    (finding,) = instruction.findings(**batch)
    assert re.search(words, finding)


def test_labels_of_the_next_token_are_found_as_weights_moved_to_the_left_whose_end_is_no_target():
    end, left = instruction.findings(**changed(weight=moved(-1)))
    assert "no weight on their end" in end and "moved by one to the left" in left


def test_rows_that_are_right_have_no_finding_as_numbers_or_bool():
    assert instruction.findings(ROWS.tokens, ROWS.weight, end=END) == ()
    assert instruction.findings(ROWS.tokens, ROWS.weight > 0, end=END) == ()


def built(prompts=((1, 2),), responses=((3,),), **options):
    return instruction.rows(prompts, responses, **{"end": END, "length": 8} | options)


test_what_does_not_fit_is_refused = refusals(
    (lambda: built(responses=[]), "1 prompts and 0 responses"),
    (lambda: built(prompts=[[]]), "prompt 0 is empty"),
    (lambda: built(responses=[[3, END]]), "response 0 holds end = 9: leave it out"),
    (lambda: built(pad=2), "text 0 holds pad = 2"),
    (lambda: built(length=3), "text 0 has 4 tokens with its end, and length = 3"),
    (lambda: built(responses=[[-3]]), "text 0 holds -3"),
    (lambda: built(responses=["yes"]), "sequence of integers", TypeError),
    (lambda: built(end=-1), "end = -1 is outside"),
    (lambda: instruction.packed(ROWS, 5), r"row \d+ has a text of .* tokens, and length = 5"),
    (lambda: instruction.packed(instruction.Rows(ROWS.tokens, 0 * ROWS.weight), 20), "row 0 has no weight"),
    (lambda: instruction.findings(ROWS.tokens, ROWS.weight[:, 1:], end=END), r"weight has shape \(12, 13\)"),
    (lambda: instruction.findings(ROWS.tokens, -ROWS.weight, end=END), "(?s)weight = .* is outside"),
)
