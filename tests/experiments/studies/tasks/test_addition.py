"""Sums as texts: what stands where, what is held out, and how often a digit is carried."""

import numpy as np
import scipy.stats

from experiments.tasks import addition
from tests.refusals import refusals

PAIRS = np.array([[123, 456], [999, 1], [7, 88]])


def test_a_sum_is_written_as_on_paper_or_with_the_units_of_its_answer_first():
    assert addition.text(addition.SumFormat(3).rows(PAIRS)) == ["123+456=0579", "999+001=1000", "007+088=0095"]
    assert addition.text(addition.SumFormat(3, reverse=True).rows(PAIRS)) == [
        "123+456=9750",
        "999+001=0001",
        "007+088=5900",
    ]


def test_the_lengths_are_those_of_prompt_answer_and_text():
    for digits in (1, 3, 9):
        sums_format, pair = addition.SumFormat(digits, reverse=True), np.array([[10**digits - 1, 10**digits - 1]])
        prompt, answer = sums_format.prompts(pair), sums_format.answers(pair)
        assert prompt.shape == (1, sums_format.prompt_length) and answer.shape == (1, sums_format.answer_length)
        np.testing.assert_array_equal(np.concatenate([prompt, answer], 1), sums_format.rows(pair))
        assert sums_format.rows(pair).shape == (1, sums_format.length) and sums_format.rows(pair).dtype == np.int32
        assert int(addition.text(answer)[0][::-1]) == 2 * (10**digits - 1)


def test_held_out_pairs_are_different_in_either_order_and_no_batch_has_one_of_them_in_either_order():
    excluded = addition.held_out(1, 27, seed=3)
    assert len({tuple(sorted(pair)) for pair in excluded.tolist()}) == 27
    all_pairs = np.concatenate([addition.batch_at(1, 64, 0, step, without=excluded) for step in range(40)])
    pairs_seen = {tuple(pair) for pair in all_pairs.tolist()}
    assert not pairs_seen & {tuple(pair) for pair in np.concatenate([excluded, excluded[:, ::-1]]).tolist()}
    assert len({tuple(sorted(pair)) for pair in pairs_seen}) == 55 - 27  # and all others come
    assert not addition.same(all_pairs, excluded).any() and addition.same(excluded[:, ::-1], excluded).all()


def test_a_batch_is_uniform_over_ordered_pairs_and_a_function_of_seed_and_step():
    excluded = np.array([[0, 1]])
    all_pairs = np.concatenate([addition.batch_at(1, 1000, 5, step, without=excluded) for step in range(10)])
    counts = np.bincount(all_pairs @ [10, 1], minlength=100)
    assert counts[1] == counts[10] == 0
    assert scipy.stats.chisquare(np.delete(counts, [1, 10])).pvalue > 0.001
    first = addition.batch_at(3, 8, 5, 2, without=excluded)
    np.testing.assert_array_equal(first, addition.batch_at(3, 8, 5, 2, without=excluded))
    for seed, step in ((6, 2), (5, 3)):
        assert not np.array_equal(first, addition.batch_at(3, 8, seed, step, without=excluded))


def test_carries_are_those_of_adding_by_hand():
    def by_hand(a, b):
        carry = count = 0
        while a or b:
            carry = (a % 10 + b % 10 + carry) // 10
            count += carry
            a, b = a // 10, b // 10
        return count

    pairs = np.random.default_rng(0).integers(1000, size=(200, 2))
    assert addition.carries(pairs, 3).tolist() == [by_hand(*pair) for pair in pairs.tolist()]
    assert addition.carries(PAIRS, 3).tolist() == [0, 3, 1]


SCRATCH = addition.SumFormat(3, scratch=True)


def test_scratch_work_says_carry_and_digit_of_each_place_from_the_units_up():
    assert addition.text(SCRATCH.rows(np.array([[123, 479], [999, 1]]))) == [
        "123+479=121006=0602",
        "999+001=101010=1000",
    ]
    pairs = np.random.default_rng(1).integers(10**9, size=(300, 2))
    for digits in (1, 3, 9):
        sums_format, few = addition.SumFormat(digits, reverse=True, scratch=True), pairs % 10**digits
        work = sums_format.scratch_work(few).reshape(300, digits, 2)
        np.testing.assert_array_equal(work[:, :, 0].sum(1), addition.carries(few, digits))
        # the digits of the answer, the units first
        np.testing.assert_array_equal(work[:, :, 1], sums_format.answers(few)[:, :digits])
        np.testing.assert_array_equal(work[:, -1, 0], sums_format.answers(few)[:, digits])  # and the last carry
        rows = sums_format.rows(few)
        assert (
            rows.shape == (300, sums_format.length) and (rows[:, sums_format.answer_place - 1] == addition.EQUALS).all()
        )
        np.testing.assert_array_equal(rows[:, sums_format.answer_place :], sums_format.answers(few))


def test_scratch_work_may_stop_after_any_place():
    pairs = np.array([[123, 479]] * 4)
    rows = SCRATCH.rows(pairs, np.arange(4))
    assert addition.text(rows) == ["123+479==0602", "123+479=12=0602", "123+479=1210=0602", "123+479=121006=0602"]
    assert rows.shape == (4, SCRATCH.length) and rows.dtype == np.int32
    np.testing.assert_array_equal(rows[3], SCRATCH.rows(pairs)[3])


def test_answers_are_read_from_what_stands_behind_a_prompt_whatever_the_format():
    pairs = np.random.default_rng(2).integers(1000, size=(50, 2))
    for sums_format in (
        addition.SumFormat(3),
        addition.SumFormat(3, reverse=True),
        SCRATCH,
        addition.SumFormat(3, reverse=True, scratch=True),
    ):
        behind = sums_format.rows(pairs)[:, sums_format.prompt_length :]
        np.testing.assert_array_equal(sums_format.read(behind), pairs.sum(1))
        np.testing.assert_array_equal(
            sums_format.read(np.pad(behind, ((0, 0), (0, 3)), constant_values=7)), pairs.sum(1)
        )
        np.testing.assert_array_equal(sums_format.read(behind[:, :-1]), addition.NO_ANSWER)
    cut = SCRATCH.rows(pairs, np.arange(50) % 4)[:, SCRATCH.prompt_length :]
    np.testing.assert_array_equal(SCRATCH.read(cut), pairs.sum(1))
    odd = np.array([[0, 5, addition.EQUALS, 9], [1, 2, 3, -1]])
    np.testing.assert_array_equal(addition.SumFormat(3).read(odd), addition.NO_ANSWER)
    np.testing.assert_array_equal(SCRATCH.read(odd), addition.NO_ANSWER)


test_a_mistake_is_refused_with_what_would_be_right = refusals(
    (lambda: addition.SumFormat(0), r"digits = 0 is outside \[1, 9\]"),
    (lambda: addition.SumFormat(2).rows(np.array([[100, 1]])), "pairs = .* is outside"),
    (lambda: addition.SumFormat(2).prompts(np.array([[1, -1]])), "pairs = .* is outside"),
    (lambda: addition.text(np.array([[12]])), "tokens holds 12"),
    (lambda: addition.held_out(1, 28, seed=0), r"count = 28 is outside \[1, 27\]"),
    (lambda: addition.held_out(1, 3, seed=-1), "seed = -1"),
    (lambda: addition.batch_at(1, 0, 0, 0, without=PAIRS), "batch = 0"),
    (lambda: addition.batch_at(1, 4, 0, -1, without=PAIRS), "step = -1"),
    (
        lambda: addition.batch_at(1, 4, 0, 0, without=np.argwhere(np.ones((10, 10)))),
        "without holds all pairs of 1 digits",
    ),
    (lambda: addition.carries(np.array([[10, 1]]), 1), "pairs = .* is outside"),
    (lambda: addition.SumFormat(3).rows(PAIRS, np.zeros(3, int)), "this format has none"),
    (lambda: SCRATCH.rows(PAIRS, np.array([0, 1, 4])), "places = .* is outside"),
    (lambda: addition.text(np.array([[-2]])), "tokens holds -2"),
)
