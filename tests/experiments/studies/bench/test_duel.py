"""Greedy texts of two sides, with differences planted: which of them count."""

import math

import numpy as np
import pytest

from experiments.bench import duel

LOGITS = np.random.default_rng(0).normal(size=(2, 6, 10)) * 4
TOKENS = LOGITS.argmax(-1)
SIZE = np.sqrt(np.mean(np.square(LOGITS)))


def changed(position, by):
    result = LOGITS.copy()
    result[position] += by
    return result


def exchanged(*position):
    """Texts with the second likeliest token at that place, and how much less likely it is."""
    tokens, row = TOKENS.copy(), LOGITS[position]
    tokens[position] = np.argsort(row)[-2]
    return tokens, row.max() - np.sort(row)[-2]


def test_equal_texts_do_not_differ_and_logits_differ_by_their_largest_difference():
    assert duel.of_texts((TOKENS, LOGITS), (TOKENS, LOGITS)) == 0
    assert duel.of_texts((TOKENS, changed((1, 5, 3), 0.01)), (TOKENS, LOGITS)) == pytest.approx(0.01 / SIZE)
    assert duel.of_texts((TOKENS, changed((0, 0, 3), -0.5)), (TOKENS, LOGITS)) == pytest.approx(0.5 / SIZE)


def test_another_token_counts_by_how_much_less_likely_it_is():
    tokens, less = exchanged(0, 2)
    assert less > 0.1 and duel.of_texts((tokens, LOGITS), (TOKENS, LOGITS)) == pytest.approx(less / SIZE)


def test_behind_another_token_that_text_counts_no_more_and_other_texts_do():
    tokens, less = exchanged(0, 2)
    for position, expected in (((0, 3, 1), less), ((0, 2, 1), 9.0), ((1, 3, 1), 9.0)):
        assert duel.of_texts((tokens, changed(position, 9.0)), (TOKENS, LOGITS)) == pytest.approx(expected / SIZE)


def test_files_with_tokens_are_compared_so_and_other_shapes_and_what_is_not_finite_are_infinitely_far(tmp_path):
    def distance(tokens, logits):
        for name, each in (("a", {"output": logits, "tokens": tokens}), ("b", {"output": LOGITS, "tokens": TOKENS})):
            np.savez(tmp_path / f"{name}.npz", **each)
        return duel.difference(tmp_path / "a.npz", tmp_path / "b.npz")

    assert distance(exchanged(0, 2)[0], LOGITS) == pytest.approx(exchanged(0, 2)[1] / SIZE)
    for tokens, logits in (
        (TOKENS[:, :-1], LOGITS),
        (TOKENS, LOGITS[..., :-1]),
        (TOKENS, changed((1, 5, 0), math.nan)),
    ):
        assert distance(tokens, logits) == math.inf


def test_gradients_count_together_and_losses_beside_them(tmp_path):
    theirs = {"loss": np.float32(2.0), "a": np.full(3, 4.0), "b": np.zeros(2)}
    np.savez(tmp_path / "b.npz", **theirs)
    for change, expected in (
        ({}, 0),
        ({"b": np.array([0, 0.6])}, 0.6 / np.sqrt(48)),
        ({"loss": np.float32(3)}, 0.5),
        ({"c": np.zeros(1)}, math.inf),
    ):
        np.savez(tmp_path / "a.npz", **theirs | change)
        assert duel.difference(tmp_path / "a.npz", tmp_path / "b.npz") == pytest.approx(expected)
