"""One beam in one block is best of n, a look ahead sees what sight does not, and ended texts stand once among the
beams.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import language
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals

CHAIN, NEW = rig.markov(3, scale=0.3), 4
RARELY = rig.Markov(np.array([[0, 0, 0], [-3, 0, 0], [-3, 0, 0]], np.float32))
"""Token 0 seldom comes."""
SEED = 9
PROMPT = np.array([[1, 2], [2, -1]])
ONE = np.array([[2, -1], [2, -1]])

NUMBER, TRAP, ENDED = range(3)
"""Scores of texts."""


def number(tokens):
    """A score that is another one for every text: its tokens as the digits of a number, the last one first."""
    places = jnp.arange(tokens.shape[1], dtype=jnp.float32)[None]
    return jnp.sum(jnp.where(tokens >= 0, 3**places * tokens, 0), 1)


def trap(tokens):
    """Token 0 looks best at first; only texts that begin with 1 get anywhere, which the third token shows."""
    first, third = tokens[:, 1], tokens[:, 3]
    return jnp.where(third < 0, 1.0 * (first == 0), jnp.where(first == 1, 5.0, 0.0))


@functools.cache
def searching(options):
    """The program of these numbers; which score it is, is data."""

    def run(chain, prompt, stop, which):
        def value(tokens, length):
            other = jnp.where(which == TRAP, trap(tokens), 1.0 * (tokens[:, 1] == 0))
            return jnp.where(which == NUMBER, number(tokens), other)

        cache, index = rig.lengths_only(2), np.arange(2)
        return language.lookahead_search(
            jax.random.key(SEED), chain, cache, prompt, index, value, stop=stop, **dict(options)
        )

    return quickly(run)


def search(which=NUMBER, prompt=PROMPT, chain=CHAIN, stop=-1, **options):
    settings = {"beams": 4, "expand": 6, "block": 1, "max_tokens": NEW} | options
    return rig.on_host(searching(tuple(settings.items()))(chain, prompt, np.array([stop]), which))


@quickly
def sampling(chain, key, prompt):
    texts = jnp.tile(prompt[None], (24, 1))
    return language.generate(key, chain, rig.lengths_only(24), texts, jnp.arange(24), max_tokens=NEW)


def sampled(row, chain=CHAIN, prompt=PROMPT):
    """24 plain samples after one prompt, by the keys of the candidates of a search."""
    return rig.on_host(sampling(chain, jax.random.fold_in(jax.random.key(SEED), row), jnp.asarray(prompt[row])))


def test_one_beam_in_one_block_is_best_of_n_of_plain_sampling():
    result = search(beams=1, expand=24, block=NEW)
    for row in range(2):
        samples, start = sampled(row), (PROMPT[row] >= 0).sum()
        full = np.full((24, 2 + NEW), -1)
        full[:, :start], full[:, start : start + NEW] = PROMPT[row, :start], samples.tokens
        scores = np.asarray(number(full))
        np.testing.assert_array_equal(result.tokens[row, 0], samples.tokens[scores.argmax()])
        np.testing.assert_allclose(result.log_probs[row, 0], samples.log_probs[scores.argmax()], rtol=1e-5)
        assert result.values[row, 0] == scores.max() > scores.mean()


def test_beams_are_in_order_and_with_enough_of_them_the_best_text_is_found():
    result = search()
    assert (np.diff(result.values, axis=1) <= 0).all() and (result.length == NEW).all() and not result.finished.any()
    np.testing.assert_array_equal(result.tokens[:, 0], 2)  # the largest token everywhere
    for row, start in ((0, 2), (1, 1)):
        full = np.concatenate([np.tile(PROMPT[row, :start], (4, 1)), result.tokens[row]], 1)
        np.testing.assert_allclose(result.values[row], number(full))


def test_a_look_ahead_avoids_the_trap_into_which_sight_falls():
    at_sight, ahead = search(TRAP, ONE), search(TRAP, ONE, lookahead=2)
    assert at_sight.tokens[0, 0, 0] == 0 and at_sight.values[0, 0] == 0
    assert ahead.tokens[0, 0, 0] == 1 and ahead.values[0, 0] == 5


def test_a_text_that_has_ended_does_not_multiply_itself_over_the_rounds():
    result = search(ENDED, ONE, RARELY, stop=0)
    stopped = (sampled(0, RARELY, ONE).tokens[:, 0] == 0).sum()
    assert 0 < stopped < 4
    assert (result.length[0] == 1).sum() == stopped == result.values[0].sum() and result.finished[0, :stopped].all()


def alone(texts, value=None):
    """A search after one prompt whose index names so many."""
    cache, options = rig.lengths_only(1), {"beams": 1, "expand": 1, "block": 1, "max_tokens": 1}
    run = functools.partial(
        language.lookahead_search, jax.random.key(SEED), CHAIN, cache, PROMPT[:1], np.arange(texts), value, **options
    )
    return lambda: jax.eval_shape(run)


test_what_does_not_fit_is_refused = refusals(
    (lambda: search(beams=0), "beams = 0"),
    (lambda: search(expand=0), "expand = 0"),
    (lambda: search(block=0), "block = 0"),
    (lambda: search(lookahead=-1), "lookahead = -1"),
    (lambda: search(max_tokens=30), "need room for"),
    (alone(2), "index names 2 texts"),
    (alone(1, lambda tokens, length: tokens), "value answers shape"),
)
