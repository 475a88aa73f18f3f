"""Thinking is as long as the budget says, the end's probability goes where it is said to go, and behind the end nothing
changes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from gendiff import language
from gendiff.language.processors import Context
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

END, WAIT = 4, 3
CHAIN = rig.markov(5)
SEED = 8
TEXTS = 64


@quickly
def think(least, most):
    forced = language.budget_forcing(END, least=least, most=most, wait=np.array([WAIT]))
    prompt, index = jnp.full((TEXTS, 1), 2), jnp.arange(TEXTS)
    return language.generate(
        jax.random.key(SEED), CHAIN, rig.lengths_only(TEXTS), prompt, index, max_tokens=10, processor=forced
    )


def thoughts(result):
    """How many tokens stand before the first end, 10 where there is none."""
    is_end = np.asarray(result.tokens) == END
    return np.where(is_end.any(1), is_end.argmax(1), 10)


@table("least, most", [(0, 0), (3, 3), (2, 6)])
def test_thinking_is_as_long_as_the_budget_says(least, most):
    lengths = thoughts(think(least, most))
    assert lengths.min() >= least and lengths.max() <= most
    if least < most:
        assert len(set(lengths.tolist())) > 2  # and free within it


def test_each_text_may_have_its_own_budget_and_without_one_nothing_changes():
    budgets = np.arange(TEXTS) % 8
    np.testing.assert_array_equal(thoughts(think(budgets, budgets)), budgets)
    free = quickly(
        lambda: language.generate(
            jax.random.key(SEED),
            CHAIN,
            rig.lengths_only(TEXTS),
            jnp.full((TEXTS, 1), 2),
            jnp.arange(TEXTS),
            max_tokens=10,
        )
    )()
    np.testing.assert_array_equal(think(0, 10).tokens, free.tokens)
    assert (thoughts(free) < 3).any() and (thoughts(free) > 5).any()  # the control: budgets above do something


LOGITS = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
SOFT = scipy.special.softmax(LOGITS.astype(np.float64), 1)


@functools.cache
def changing(wait):
    def run(text, generated, least):
        context = Context(text, jnp.sum(text >= 0, 1), generated)
        return language.budget_forcing(END, least=least, most=4, wait=wait)(jnp.asarray(LOGITS), context)

    return quickly(run)


def changed(tokens, generated, wait=(), least=2):
    """Probabilities after texts of one token of prompt."""
    final = changing(wait)(rig.padded(tokens, 6), np.array(generated), least)
    return scipy.special.softmax(np.asarray(final, np.float64), 1)


def test_the_probability_of_an_early_end_goes_to_wait_or_to_all_others_in_their_proportions():
    texts, generated = [[END, 0], [1, 2], [1, 0, 0], [1, END]], [1, 1, 2, 1]  # the end in a prompt is none
    waiting = changed(texts, generated, wait=(WAIT,))
    for row in (0, 1):
        expected = SOFT[row].copy()
        expected[WAIT] += expected[END]
        expected[END] = 0
        np.testing.assert_allclose(waiting[row], expected, rtol=1e-5)
    np.testing.assert_allclose(waiting[2:], SOFT[2:], rtol=1e-5)  # thought enough, and at an end
    others = changed(texts, generated)
    np.testing.assert_allclose(others[1, :END], SOFT[1, :END] / SOFT[1, :END].sum(), rtol=1e-5)


def test_after_the_budget_the_end_is_certain_and_behind_it_logits_stay():
    final = changed([[1, 0, 0, 0, 0], [1, 0, 0, 0, END], [1, 0], [1, 0, 0, 0]], [4, 4, 1, 3])
    np.testing.assert_array_equal(final[0], np.eye(5)[END])
    np.testing.assert_allclose(final[[1, 3]], SOFT[[1, 3]], rtol=1e-5)


def test_several_tokens_of_waiting_follow_one_another():
    final = changed([[1, 3], [1, 0, 3, 1], [3], [1, 1]], [1, 3, 0, 1], wait=(3, 1, 2), least=4)
    np.testing.assert_array_equal(final[0], np.eye(5)[1])
    np.testing.assert_array_equal(final[1], np.eye(5)[2])
    for row in (2, 3):  # nothing was generated, and another token was
        assert final[row, END] == 0 and (final[row, :END] > 0).all()


def test_forced_tokens_have_probability_one():
    result = rig.on_host(think(3, 3))
    np.testing.assert_array_equal(result.log_probs[np.arange(TEXTS), thoughts(result)], 0)


test_a_mistake_is_refused = refusals(
    (lambda: language.budget_forcing(END, least=-1, most=3), "least = -1 is outside"),
    (lambda: language.budget_forcing(END, least=4, most=3), "most = 3 is below least = 4"),
    (lambda: language.budget_forcing(-1, most=3), "end = -1"),
    (lambda: language.budget_forcing(1.5, most=3), "end must be an integer", TypeError),
    (lambda: language.budget_forcing(END, most=3, wait=(END,)), "holds the end 4"),
    (lambda: language.budget_forcing(END, most=3, wait=((1,),)), r"wait has shape \(1, 1\)"),
    (lambda: language.budget_forcing(END, most=3, wait=(0.5,)), "wait must hold integers", TypeError),
)
