"""Each processor beside its definition by sorting, and the numbers as data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gendiff.language import processors
from tests.quickly import quickly
from tests.refusals import refusals

values = st.one_of(st.sampled_from([-2.0, -0.0, 0.0, 1.0, -np.inf]), st.floats(-50, 50, width=32))
rows = hnp.arrays(np.float32, (2, 9), elements=values).filter(lambda x: np.isfinite(x).any(1).all())
CONTEXT = processors.Context(*(np.array(each, np.int32) for each in ([[1, 4, 4, -1], [2, 0, -1, -1]], [3, 2], [1, 0])))

program = quickly(lambda processor, logits, context: processor(logits, context))


def apply(processor, logits):
    return np.asarray(program(processor, logits, CONTEXT))


def remaining(processor, logits):
    """What a processor keeps; it changes nothing of that."""
    result = apply(processor, logits)
    assert ((result == logits) | (result == -np.inf)).all()
    return (result == logits) & np.isfinite(logits)


@given(logits=rows, number=st.integers(1, 12))
def test_top_k_keeps_what_is_at_least_the_kth_largest(logits, number):
    floor = np.sort(logits, 1)[:, ::-1][:, min(number, 9) - 1]
    np.testing.assert_array_equal(
        remaining(processors.top_k(number), logits), (logits >= floor[:, None]) & np.isfinite(logits)
    )


@given(logits=rows, share=st.floats(0, 1, width=32))
def test_top_p_keeps_the_fewest_that_hold_the_share_and_their_equals(logits, share):
    probs = scipy.special.softmax(logits.astype(np.float64), 1)
    result = remaining(processors.top_p(share), logits)
    for row in range(2):
        floor = logits[row][result[row]].min()
        assert result[row][logits[row] >= floor].all()  # a threshold, so equals stay together
        assert probs[row][logits[row] >= floor].sum() >= share - 1e-6
        assert share == 1 or probs[row][logits[row] > floor].sum() < max(share, 1e-30) + 1e-6


def test_top_p_cuts_where_the_sum_says():
    logits = np.log(np.array([[0.1, 0.4, 0.2, 0.3]] * 5, np.float32))
    result = remaining(processors.top_p(np.array([0.0, 0.39, 0.65, 0.85, 1.0])), logits)
    np.testing.assert_array_equal(result.sum(1), [1, 1, 2, 3, 4])


def test_top_p_of_1_keeps_every_token_of_a_large_vocabulary():
    """Whose probabilities sum to less than 1 by rounding, or reach it long before the last token."""
    logits = np.random.default_rng(0).normal(size=(2, 5000)).astype(np.float32) * np.float32([[1], [6]])
    assert remaining(processors.top_p(1.0), logits).all()
    assert remaining(processors.top_p(np.array([1.0, 0.999])), logits).all(1).tolist() == [True, False]


@given(logits=rows, share=st.floats(0, 1, width=32))
def test_min_p_keeps_what_is_likely_beside_the_likeliest(logits, share):
    ratio = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    result = remaining(processors.min_p(share), logits)
    clear = (np.abs(ratio - share) > 1e-5 * share) & np.isfinite(logits)
    np.testing.assert_array_equal(result[clear], (ratio >= share)[clear])


def test_min_p_of_1_keeps_the_likeliest_and_its_equals_and_of_0_all():
    logits = np.array([[1.0, 3.0, 3.0, 2.9999998], [0.0, -80.0, -np.inf, 5.0]], np.float32)
    np.testing.assert_array_equal(remaining(processors.min_p(1.0), logits), [[0, 1, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(remaining(processors.min_p(0.0), logits), np.isfinite(logits))


@pytest.mark.float64
def test_thresholds_are_exact_in_64_bits_too():
    logits = 1.0 + 1e-12 * np.random.default_rng(0).permutation(50)[None]
    for number in (1, 7, 49):
        assert remaining(processors.top_k(number), logits).sum() == number


def test_temperature_divides_and_at_0_leaves_the_first_of_the_largest():
    logits = np.array([[1.0, 3.0, 3.0, -np.inf]] * 2, np.float32)
    result = apply(processors.temperature(np.array([2.0, 0.0])), logits)
    np.testing.assert_array_equal(result, [[0.5, 1.5, 1.5, -np.inf], [-np.inf, 0.0, -np.inf, -np.inf]])
    assert np.isnan(apply(processors.temperature(0.0), logits * np.float32(np.nan))).any(1).all()


def test_the_penalty_falls_on_tokens_of_the_text_alone():
    logits = np.array([[2.0, -2.0, 2.0, -2.0, 2.0]] * 2, np.float32)
    result = apply(processors.repetition_penalty(2.0), logits)
    np.testing.assert_array_equal(result, [[2.0, -4.0, 2.0, -2.0, 1.0], [1.0, -2.0, 1.0, -2.0, 2.0]])


def test_banned_ids_and_stops_before_a_number_of_tokens_have_no_probability():
    logits = np.zeros((2, 5), np.float32)
    np.testing.assert_array_equal(
        np.isinf(apply(processors.banned(np.array([4, -1, 0])), logits)), [[1, 0, 0, 0, 1]] * 2
    )
    np.testing.assert_array_equal(
        np.isinf(apply(processors.banned(np.array([[1], [-1]])), logits)), [[0, 1, 0, 0, 0], [0] * 5]
    )
    assert not np.isinf(apply(processors.banned(()), logits)).any()
    early = apply(processors.min_tokens(1, np.array([3])), logits)  # the first text has a token, the second none
    np.testing.assert_array_equal(np.isinf(early), [[0] * 5, [0, 0, 0, 1, 0]])


def test_a_rule_sees_the_text_and_a_chain_goes_from_first_to_last():
    def follows(context):
        last = context.tokens[jnp.arange(2), context.length - 1]
        return jnp.arange(5)[None] == last[:, None] + 1

    logits = np.arange(10, dtype=np.float32).reshape(2, 5)
    both = apply(processors.chain(processors.temperature(2.0), processors.allowed(follows)), logits)
    np.testing.assert_array_equal(both, np.where(np.isin(np.arange(10), [6]).reshape(2, 5), logits / 2, -np.inf))
    np.testing.assert_array_equal(apply(processors.chain(), logits), logits)


def test_no_processor_sorts_the_vocabulary_and_equal_ones_do_not_retrace():
    def build(value):
        kinds = (processors.temperature, processors.top_p, processors.min_p)
        return processors.chain(
            *(kind(value) for kind in kinds), processors.top_k(3), processors.repetition_penalty(1.5)
        )

    assert " sort[" not in str(jax.make_jaxpr(build(0.5))(jnp.zeros((2, 5)), CONTEXT))
    assert jax.tree.structure(build(0.5)) == jax.tree.structure(build(0.25))


test_what_is_no_setting_is_refused = refusals(
    (lambda: processors.temperature(-0.1), "temperature = -0.1 is outside"),
    (lambda: processors.top_k(0), "number = 0 is outside"),
    (lambda: processors.top_p(1.1), "share = 1.1 is outside"),
    (lambda: processors.min_p(-0.1), "share = -0.1 is outside"),
    (lambda: processors.repetition_penalty(0.0), "value = 0 is outside"),
    (lambda: processors.banned(np.array([0.5])), "ids must be integers"),
    (lambda: processors.chain(3), "a processor is a function", TypeError),
    (lambda: processors.allowed(3), "rule must be a function", TypeError),
    (lambda: apply(processors.temperature(np.ones(3)), np.zeros((2, 5), np.float32)), "one per text"),
    (
        lambda: apply(processors.allowed(lambda context: jnp.ones((1, 4), bool)), np.zeros((2, 5), np.float32)),
        "the rule of allowed tokens",
    ),
    (
        lambda: apply(processors.allowed(lambda context: jnp.ones((3, 5), bool)), np.zeros((2, 5), np.float32)),
        "the rule of allowed tokens",
    ),
)
