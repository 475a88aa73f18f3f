"""Revisions are those of a loop by hand, more rounds change none before them, and with a score nothing gets worse."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import preferences
from tests.quickly import quickly
from tests.refusals import refusals

SEED = 6
FIRST = {"x": np.array([[0, 1], [2, -1], [0.5, 0.5]], np.float32), "n": np.arange(3)}


def policy(key, answer):
    return {"x": answer["x"] + jax.random.normal(key, answer["x"].shape), "n": answer["n"] + 1}


def closeness(answer):
    return -jnp.sum(jnp.square(answer["x"]), 1)


revised = quickly(preferences.revise, static_argnums=(1, 3), static_argnames="score")


def test_revisions_are_those_of_a_loop():
    result, held = revised(jax.random.key(SEED), policy, FIRST, 3), FIRST
    for number in range(4):
        np.testing.assert_allclose(result.answers["x"][number], held["x"], rtol=1e-6)
        held = policy(jax.random.fold_in(jax.random.key(SEED), number), held)
    assert result.scores is None and np.asarray(result.accepted).all() and result.accepted.shape == (3, 3)
    assert np.asarray(result.answers["n"][:, 1]).tolist() == [1, 2, 3, 4]


def test_with_a_score_no_answer_gets_worse_and_some_get_better():
    result = revised(jax.random.key(SEED), policy, FIRST, 12, score=closeness)
    scores = np.asarray(result.scores)
    assert (np.diff(scores, axis=0) >= 0).all() and scores[-1].mean() > scores[0].mean()
    np.testing.assert_array_equal(np.diff(scores, axis=0) > 0, result.accepted)
    np.testing.assert_allclose(scores, jax.vmap(closeness)(result.answers), rtol=1e-6)
    assert not np.asarray(result.accepted).all()  # the control: some revisions are worse


def test_more_rounds_change_none_before_them_and_none_is_the_first_answer():
    many, few = (revised(jax.random.key(SEED), policy, FIRST, rounds, score=closeness) for rounds in (12, 2))
    np.testing.assert_array_equal(many.answers["x"][:3], few.answers["x"])
    none = revised(jax.random.key(SEED), policy, FIRST, 0, score=closeness)
    np.testing.assert_array_equal(none.answers["x"][0], FIRST["x"])
    assert none.accepted.shape == (0, 3)


def test_a_score_that_is_no_number_is_never_accepted():
    def unknown(answer):
        return jnp.where(answer["n"] == 0, -5.0, jnp.nan)

    result = revised(
        jax.random.key(SEED), lambda key, answer: answer | {"n": answer["n"] * 0 + 7}, FIRST, 2, score=unknown
    )
    np.testing.assert_array_equal(result.answers["n"][-1], FIRST["n"])


test_a_mistake_is_refused = refusals(
    (lambda: preferences.revise(None, policy, FIRST, 1), "key is None", TypeError),
    (lambda: preferences.revise(jax.random.key(SEED), policy, FIRST, -1), "rounds = -1"),
    (
        lambda: preferences.revise(jax.random.key(SEED), lambda key, answer: answer["x"], FIRST, 1),
        "a revision has the structure",
        TypeError,
    ),
    (
        lambda: preferences.revise(
            jax.random.key(SEED), lambda key, answer: answer | {"x": answer["x"][:, :1]}, FIRST, 1
        ),
        "a revision has",
        TypeError,
    ),
    (
        lambda: preferences.revise(jax.random.key(SEED), policy, FIRST, 1, score=lambda answer: answer["x"]),
        r"score answers shape \(3, 2\)",
    ),
)
