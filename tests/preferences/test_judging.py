"""A judge's lean to one place cancels, labels of swapped answers are opposite, and pairs stand in the order of their
labels.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.preferences import judging
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

FIRST, SECOND = (
    {"quality": jnp.asarray(values), "text": jnp.asarray(text)}
    for values, text in (
        ([3.0, 0.5, -1.0, 2.0], [[1, 2], [3, 4], [5, 6], [7, 8]]),
        ([1.0, 0.0, 1.5, 2.0], [[9, 9], [8, 8], [7, 7], [6, 6]]),
    )
)
DIFFERENCE = np.array([2.0, 0.5, -2.5, 0.0])


def leaning(lean):
    """To the answer that stands first."""
    return lambda one, other: one["quality"] - other["quality"] + lean


@table("lean", [-3.0, 0.0, 1.0])
def test_a_lean_to_one_place_cancels_and_is_reported(lean):
    result = judging.labels(leaning(lean), FIRST, SECOND)
    np.testing.assert_allclose(result.log_odds, DIFFERENCE, atol=1e-6)
    np.testing.assert_allclose(result.place, np.full(4, lean), atol=1e-6)
    np.testing.assert_allclose(result.probability, 1 / (1 + np.exp(-DIFFERENCE)), rtol=1e-6)
    np.testing.assert_allclose(result.one_order, DIFFERENCE + lean, atol=1e-6)


def test_orders_agree_where_the_difference_outweighs_the_lean_and_a_tie_is_no_agreement():
    for lean in (0.0, 1.0, 3.0):
        assert judging.labels(leaning(lean), FIRST, SECOND).agree.tolist() == (np.abs(DIFFERENCE) > lean).tolist()


def test_labels_of_swapped_answers_are_opposite_and_jit_changes_nothing():
    def judge(one, other):
        return jnp.sin(one["quality"]) * 2 - jnp.cos(other["quality"])

    there, back = (judging.labels(judge, *pair) for pair in ((FIRST, SECOND), (SECOND, FIRST)))
    np.testing.assert_array_equal(there.log_odds, -back.log_odds)
    np.testing.assert_array_equal(there.place, back.place)
    compiled = quickly(lambda *pair: judging.labels(judge, *pair))(FIRST, SECOND)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), there, compiled)


def test_pairs_stand_in_the_order_of_their_labels():
    chosen, rejected = judging.ordered(DIFFERENCE.astype(np.float32), FIRST, SECOND)
    assert chosen["text"].tolist() == [[1, 2], [3, 4], [7, 7], [7, 8]]
    assert rejected["text"].tolist() == [[9, 9], [8, 8], [5, 6], [6, 6]]
    assert np.all(np.asarray(chosen["quality"]) >= np.asarray(rejected["quality"]))


test_what_is_no_judge_of_pairs_is_refused = refusals(
    (lambda: judging.labels(lambda one, other: one["text"], FIRST, SECOND), "judge answers int32", TypeError),
    (lambda: judging.labels(lambda one, other: one["quality"][:, None], FIRST, SECOND), "one number per pair"),
    (lambda: judging.labels(lambda one, other: one["quality"][:2], FIRST, SECOND), r"shape \(2,\) to 4 pairs"),
    (lambda: judging.labels(leaning(0.0), FIRST, FIRST["quality"]), "trees of one structure", TypeError),
    (lambda: judging.ordered(jnp.zeros(3), FIRST, SECOND), r"log_odds has shape \(3,\)"),
)
