"""What every watermark of texts keeps, and the law of each."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gendiff import language
from gendiff.provenance import keyed_hash, text_detection, text_watermarks
from tests.language import rig as texts
from tests.provenance.rig import KEY, MARKS, V, Written, unmarked, written
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

every_mark = table("name", MARKS)
FREE = ("gumbel", "tournament")
every_free = table("name", FREE)
apply = quickly(lambda mark, logits, tokens, length: mark(logits, Written(tokens, length)))
scores = quickly(text_detection.scores)
LOGITS = np.random.default_rng(2).normal(size=(4, V)).astype(np.float32)
TOKENS = unmarked(4, 6)
FEW = np.arange(5)[None]
"""A text of a small vocabulary in which no context comes twice."""


@functools.cache
def marked(name):
    """16 texts of 120 tokens from equal logits."""
    return np.asarray(written(jax.random.key(0), MARKS[name](), np.zeros((16, V), np.float32), 120))


@every_mark
def test_a_marked_text_is_found_and_neither_another_key_nor_an_unmarked_text_is(name):
    result = text_detection.detect(MARKS[name](), marked(name))
    assert (
        np.all(result.z > 1) if name == "unigram" else np.all(result.p < 1e-5)
    )  # a choice per token of 64, and no more
    for p in (
        text_detection.detect(MARKS[name](KEY + 1), marked(name)).p,
        text_detection.detect(MARKS[name](), unmarked(16, 120)).p,
    ):
        assert 0.05 < np.median(p) < 0.95


@every_mark
def test_both_sides_see_the_same_choices_under_jit_vmap_and_scan(name):
    longer = np.concatenate(
        [np.repeat(TOKENS[:, None], V, 1), np.broadcast_to(np.arange(V)[None, :, None], (4, V, 1))], -1
    )

    def both(mark):
        state, enough = mark.choices(jnp.asarray(LOGITS), Written(TOKENS, np.full(4, 6)))
        values, choices = jax.vmap(text_detection.scores, (None, 0))(mark, longer)
        _, (scanned, _) = jax.lax.scan(lambda carry, row: (carry, text_detection.scores(mark, row)), None, longer[0])
        return enough, jnp.stack(state, -1), mark.values(state), choices, values, scanned

    enough, state, worth, choices, values, scanned = map(np.asarray, quickly(both)(MARKS[name]()))
    assert np.all(enough)
    np.testing.assert_array_equal(choices[:, :, -1], state)
    np.testing.assert_array_equal(values[:, :, -1], worth)
    np.testing.assert_array_equal(scanned, values[0])


@every_mark
def test_a_text_has_its_score_alone_in_any_order_and_behind_padding(name):
    mark, rows = MARKS[name](), marked(name)
    full, turned = text_detection.detect(mark, rows), text_detection.detect(mark, rows[::-1])
    np.testing.assert_array_equal(full.p[::-1], turned.p)
    behind = text_detection.detect(mark, np.pad(rows[2:3], ((0, 0), (0, 30)), constant_values=-1))
    assert behind.p == full.p[2] and behind.scored == full.scored[2] and behind.z == full.z[2]


@pytest.mark.fault("watermarks: a text that is too short")
@every_mark
def test_the_first_tokens_and_those_of_a_prompt_have_no_mark_and_no_score(name):
    mark = MARKS[name]()
    if mark.width:
        few = apply(mark, LOGITS, TOKENS, np.full(4, mark.width - 1))
        np.testing.assert_array_equal(few, LOGITS)
    nothing = text_detection.detect(mark, TOKENS[:, : mark.width])
    assert nothing.p.tolist() == [1.0] * 4 and not nothing.scored.any() and not nothing.z.any()
    rest = text_detection.detect(mark, marked(name), start=100)
    assert np.all(rest.scored <= 20) and np.all(rest.scored > 0)
    assert not text_detection.detect(mark, marked(name), start=120).scored.any()


@every_mark
def test_padding_of_the_context_and_other_texts_do_not_enter(name):
    mark = MARKS[name]()
    wide = np.pad(TOKENS, ((0, 0), (0, 3)), constant_values=-1)
    alone = [apply(mark, LOGITS[row : row + 1], TOKENS[row : row + 1], np.array([6]))[0] for row in range(4)]
    np.testing.assert_array_equal(apply(mark, LOGITS, wide, np.full(4, 6)), np.stack(alone))


@table("name", ["green list", "unigram", "self-hash", "payload"])
def test_greens_are_a_share_gamma_and_their_logits_alone_are_moved(name):
    mark = MARKS[name]()
    before = unmarked(500, 3)
    zeros, context = jnp.zeros((500, V)), Written(before, np.full(500, 3))
    moved, (state, _) = jax.device_get(quickly(lambda mark: (mark(zeros, context), mark.choices(zeros, context)))(mark))
    assert set(np.unique(moved)) == {0.0, 2.0}
    _, first = np.unique(np.stack(state, -1).reshape(-1, 2), axis=0, return_index=True)
    green = moved.ravel()[first] > 0
    gamma = float(mark.gamma)
    assert abs(green.mean() - gamma) < 4 * math.sqrt(gamma * (1 - gamma) / len(green)) and len(green) >= V


def test_a_delta_of_zero_leaves_logits_as_they_are_bit_for_bit():
    logits = np.array([[-0.0, 0.0, -np.inf, np.nan] * 16], np.float32)
    same = apply(text_watermarks.green_list(KEY, V, delta=0.0), logits, TOKENS[:1], np.array([6]))
    assert np.asarray(same).tobytes() == logits.tobytes()


def test_green_tokens_of_flat_logits_are_as_many_as_theory_says():
    rows = written(jax.random.key(3), text_watermarks.green_list(KEY, 1000), np.zeros((32, 1000), np.float32), 200)
    result = text_detection.detect(text_watermarks.green_list(KEY, 1000), np.asarray(rows))
    share = text_watermarks.green_share(0.25, 2.0)
    expected = (share - 0.25) * math.sqrt(199 / (0.25 * 0.75))
    assert np.mean(result.z) == pytest.approx(expected, rel=0.03) and expected == pytest.approx(15.1, abs=0.2)


# The law of tokens under marks that distort nothing.


@every_free
def test_over_keys_a_token_has_the_law_of_the_model(name):
    logits = jnp.array([[2.0, 1.0, 0.0, -1.0, -jnp.inf]])
    number = 4000

    def sampled_token(words, seed):
        mark = MARKS[name](vocabulary=5)
        mark = type(mark)(
            words,
            *(getattr(mark, field) for field in ("vocabulary", "width", "layers")[: 3 if name == "tournament" else 2]),
        )
        return jax.random.categorical(jax.random.key(seed), mark(logits, Written(FEW, np.array([5]))))[0]

    words = np.random.default_rng(5).integers(0, 2**32, (number, 2)).astype(np.uint32)
    tokens = quickly(jax.vmap(sampled_token))(words, np.arange(number))
    counts = np.bincount(tokens, minlength=5)
    assert counts[4] == 0
    assert (
        scipy.stats.chisquare(counts[:4], number * scipy.special.softmax(np.asarray(logits[0, :4], np.float64))).pvalue
        > 1e-3
    )


def test_a_round_of_the_tournament_is_the_winner_of_two_draws():
    mark = text_watermarks.tournament(KEY, 5, layers=1, width=1)
    logits = jnp.array([[0.3, 1.0, -0.5, 0.0, -2.0]])
    state, _ = mark.choices(logits, Written(FEW, np.array([5])))
    favoured = np.asarray(mark.values(state))[0]
    p = scipy.special.softmax(np.asarray(logits[0], np.float64))
    wins = np.zeros(5)
    for first in range(5):
        for second in range(5):
            for winner in (first, second):  # of equals either wins
                best = favoured[winner] == max(favoured[first], favoured[second])
                wins[winner] += best * p[first] * p[second] / (1 + (favoured[first] == favoured[second]))
    changed = apply(mark, logits, FEW, np.array([5]))
    np.testing.assert_allclose(scipy.special.softmax(changed[0]), wins, atol=1e-6)


@every_free
def test_where_a_context_has_been_the_text_is_drawn_by_chance(name):
    mark = MARKS[name]()
    repeated = np.array([[1, 2, 3, 1, 2, -1], [1, 2, 3, 2, 1, -1]])
    changed = np.asarray(apply(mark, LOGITS[:2], repeated, np.array([5, 5])))
    np.testing.assert_array_equal(changed[0], LOGITS[0])
    assert not np.array_equal(changed[1], LOGITS[1])


@every_free
def test_what_may_not_be_drawn_stays_so_and_nothing_is_drawn_from_no_numbers(name):
    only = np.where(np.arange(V) == 9, 0.0, -np.inf)[None].astype(np.float32)
    for logits in (only, np.full((1, V), -np.inf, np.float32), np.full((1, V), np.nan, np.float32)):
        changed = np.asarray(apply(MARKS[name](), logits, TOKENS[:1], np.array([6])))[0]
        assert np.all(~(changed > -np.inf) | (np.arange(V) == 9))
        assert np.isfinite(changed[9]) == np.isfinite(logits[0, 9])


def test_the_least_hash_alone_chooses_so_that_most_changes_before_move_nothing():
    mark = text_watermarks.self_hash(KEY, V, width=3)
    before = unmarked(300, 4)
    other = before.copy()
    other[:, 1] = (other[:, 1] + 1) % V
    (_, first), (_, second) = scores(mark, before), scores(mark, other)
    moved = np.any(np.asarray(first)[:, 0] != np.asarray(second)[:, 0], -1).mean()
    assert 0.15 < moved < 0.6  # the old and the new token are the least of four with probability 1/4 each
    plain = text_watermarks.green_list(KEY, V, width=3)
    (_, first), (_, second) = scores(plain, before), scores(plain, other)
    assert np.any(np.asarray(first)[:, 0] != np.asarray(second)[:, 0], -1).all()


def test_it_rides_on_the_decoding_loop():
    chain, vocabulary = texts.markov(texts.VOCABULARY, scale=0.5), texts.VOCABULARY
    mark = text_watermarks.green_list(KEY, vocabulary, delta=4.0, width=2)

    @quickly
    def run(mark):
        prompt, index, held = texts.padded([[3, 1, 4]] * 8, 3), np.arange(8), texts.lengths_only(8, 64)
        processor = language.processors.chain(language.processors.temperature(0.9), mark)
        return language.generate(jax.random.key(0), chain, held, prompt, index, max_tokens=60, processor=processor)

    tokens = np.asarray(run(mark).tokens)
    assert np.all(text_detection.detect(mark, tokens).p < 1e-4)


MARK = text_watermarks.green_list(KEY, V)
test_mistakes_are_refused = refusals(
    (lambda: text_watermarks.green_list(-1, V), "key = -1"),
    (lambda: text_watermarks.green_list(KEY, 0), "vocabulary = 0"),
    (lambda: text_watermarks.green_list(KEY, V, gamma=1.0), r"gamma = 1 is outside"),
    (lambda: text_watermarks.green_list(KEY, V, delta=-1.0), "delta = -1"),
    (lambda: text_watermarks.green_list(KEY, V, width=17), "width = 17"),
    (lambda: text_watermarks.green_list(KEY, V, payload=(4,)), "a digit of payload = 4"),
    (lambda: text_watermarks.green_list(KEY, V, payload=()), "no digits"),
    (lambda: text_watermarks.self_hash(KEY, V, width=0), "width = 0"),
    (lambda: text_watermarks.gumbel(KEY, V, width=0), "width = 0"),
    (lambda: text_watermarks.tournament(KEY, V, layers=32), "layers = 32"),
    (lambda: keyed_hash.key(True), "key", TypeError),
)
test_logits_of_another_vocabulary_are_refused = pytest.mark.fault("watermarks: logits of another vocabulary")(
    refusals(
        (lambda: MARK(jnp.zeros((1, 9)), Written(TOKENS[:1], np.array([6]))), r"for 64 tokens, but logits are \[1, 9\]")
    )
)
