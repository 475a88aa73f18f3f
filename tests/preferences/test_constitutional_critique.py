"""Rounds of critique and revision by a policy whose every word is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import sample_keys
from gendiff.preferences import constitutional_critique
from gendiff.preferences.constitutional_critique import RevisionPolicy
from tests.quickly import quickly
from tests.refusals import refusals

SEED, PROMPT, INDEX, PRINCIPLES = 3, np.arange(6, dtype=np.float32), np.arange(6) + 40, np.arange(4)


def random_part(key, index):
    return jax.vmap(lambda key: jax.random.uniform(key, (4,)))(sample_keys.keys_of(key, index))


def answer(key, prompt, index):
    return prompt[:, None] + random_part(key, index)


def critique(key, prompt, draft, principle, index):
    return {"of": jnp.take_along_axis(draft, principle[:, None], 1)[:, 0], "by": principle}


def revise(key, prompt, draft, criticism, principle, index):
    here = jax.nn.one_hot(principle, 4)
    return draft * (1 - here) + here * (100 + criticism["of"][:, None] + random_part(key, index))


POLICY = RevisionPolicy(answer, critique, revise)
run = quickly(constitutional_critique.critique_and_revise, static_argnames="rounds")


@functools.cache
def together():
    """Eight rounds of six samples."""
    return jax.device_get(run(jax.random.key(SEED), POLICY, PRINCIPLES, PROMPT, INDEX, rounds=8))


def test_each_sample_goes_through_all_principles_in_an_order_of_its_own_before_any_comes_again():
    orders = together().principle
    assert orders.shape == (8, 6) and orders.dtype == np.int32
    for part in (orders[:4], orders[4:]):
        np.testing.assert_array_equal(np.sort(part, 0), np.tile(np.arange(4)[:, None], (1, 6)))
    assert len({tuple(order) for order in orders.T}) > 3


def test_a_round_criticises_what_stands_and_its_revision_is_what_the_next_one_sees():
    result = together()
    rows = np.arange(6)
    for number in range(8):
        before, after, by = result.drafts[number], result.drafts[number + 1], result.principle[number]
        np.testing.assert_array_equal(result.critiques["by"][number], by)
        np.testing.assert_array_equal(result.critiques["of"][number], before[rows, by])
        same = np.ones((6, 4), bool)
        same[rows, by] = False
        np.testing.assert_array_equal(after[same], before[same])
        assert np.all(after[rows, by] >= 100 + before[rows, by])
    assert np.all(result.first < 10) and np.all(result.last >= 100)


def test_a_sample_is_a_function_of_key_and_index_and_further_rounds_change_none_before():
    some = np.array([4, 1])
    alone = run(jax.random.key(SEED), POLICY, PRINCIPLES, PROMPT[some], INDEX[some], rounds=2)
    result = jax.tree.map(lambda leaf: leaf[:, some], together())
    np.testing.assert_array_equal(alone.drafts, result.drafts[:3])
    np.testing.assert_array_equal(alone.principle, result.principle[:2])
    assert not np.array_equal(
        run(jax.random.key(4), POLICY, PRINCIPLES, PROMPT, INDEX, rounds=8).drafts, together().drafts
    )


def test_a_given_draft_is_the_first_and_principles_may_be_any_rows():
    draft, principles = jnp.full((6, 4), 7.0), {"number": jnp.arange(4), "text": jnp.arange(12).reshape(4, 3)}

    def read(key, prompt, draft, principle, index):
        return critique(key, prompt, draft, principle["number"], index) | {"text": principle["text"]}

    def write(key, prompt, draft, criticism, principle, index):
        return revise(key, prompt, draft, criticism, principle["number"], index)

    result = run(
        jax.random.key(SEED),
        RevisionPolicy(critique=read, revise=write),
        principles,
        PROMPT,
        INDEX,
        rounds=2,
        draft=draft,
    )
    np.testing.assert_array_equal(result.first, draft)
    np.testing.assert_array_equal(result.critiques["text"], principles["text"][result.principle])


def refused(**changes):
    settings = {"policy": POLICY, "principles": PRINCIPLES, "rounds": 2} | changes
    return lambda: run(jax.random.key(SEED), prompt=PROMPT, index=INDEX, **settings)


test_what_cannot_be_a_revision_is_refused = refusals(
    (refused(rounds=0), "rounds = 0"),
    (refused(principles=()), "one row per principle"),
    (refused(principles={"a": jnp.arange(3), "b": jnp.arange(4)}), "one row per principle"),
    (refused(policy=RevisionPolicy(critique=critique, revise=revise)), "policy lacks a function"),
    (
        refused(policy=RevisionPolicy(answer, critique, lambda key, prompt, draft, *others: draft[:, :2])),
        "the policy answers",
        TypeError,
    ),
)
