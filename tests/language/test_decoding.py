"""What is generated is what the rule says, text by text, whatever stands beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gendiff import language
from gendiff.language import decoding, processors
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.traced import Traced

pytestmark = pytest.mark.numbers

KEY = jax.random.key(7)
TEXTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5], [3, 5, 8, 9, 7, 9], [11, 12, 13, 14], [0, 0]]
NEW = 6
SETTINGS = {"temperature": 1.3, "k": 9, "p": 0.95, "low": 0.01, "penalty": 1.2}


def processor(values):
    return processors.chain(
        processors.repetition_penalty(values["penalty"]),
        processors.temperature(values["temperature"]),
        processors.top_k(values["k"]),
        processors.top_p(values["p"]),
        processors.min_p(values["low"]),
    )


def run(key, cache, prompt, index, values, stop, num_tokens, chunk):
    return language.generate(
        key,
        rig.MODEL,
        cache,
        prompt,
        index,
        max_tokens=NEW,
        processor=processor(values),
        num_tokens=num_tokens,
        stop=stop,
        chunk=chunk,
    )


traced = Traced(run, quickly, static_argnames="chunk")
NO_STOP = np.array([-1, -1, -1])


def generate(texts, index, *, key=KEY, values=SETTINGS, stop=NO_STOP, num_tokens=NEW, width=6, chunk=64, cache=None):
    stops, number = np.broadcast_to(stop, (len(texts), 3)), np.broadcast_to(num_tokens, len(texts))
    held = language.cache.full(rig.NETWORK, len(texts), rig.CAPACITY) if cache is None else cache
    return rig.on_host(
        traced(key, held, rig.padded(texts, width), np.asarray(index), values, stops, number, chunk=chunk)
    )


def by_the_rule(text, index, values=SETTINGS):
    """Tokens and their log-probabilities, one after the other, each from the whole text so far, without a cache."""
    text, log_probs = list(text), []
    for number in range(NEW):
        token, log_prob = next_by_the_rule(index, number, rig.padded([text], 12), values)
        text.append(int(token))
        log_probs.append(float(log_prob))
    return text[-NEW:], log_probs


@quickly
def next_by_the_rule(index, number, text, values):
    key = jax.random.fold_in(jax.random.fold_in(KEY, index), number)
    length = jnp.sum(text >= 0, 1)
    logits = jnp.take_along_axis(rig.MODEL(text, None, True)[0], length[:, None, None] - 1, 1)[:, 0]
    final = processor(values)(logits, processors.Context(text, length, None))[0]
    token = jnp.argmax(final + jax.random.gumbel(key, final.shape))
    return token, jax.nn.log_softmax(final)[token]


@pytest.fixture(scope="module")
def generated():
    return generate(TEXTS, range(6))


@table("values", [SETTINGS, SETTINGS | {"temperature": 0.0}])
def test_tokens_and_their_probabilities_are_those_of_the_rule_from_whole_texts(values):
    result = generate(TEXTS, range(6), values=values)
    for row in (0, 3):
        tokens, log_probs = by_the_rule(TEXTS[row], row, values)
        np.testing.assert_array_equal(result.tokens[row], tokens)
        np.testing.assert_allclose(result.log_probs[row], log_probs, atol=2e-5)
    np.testing.assert_array_equal(result.cache.length, [len(text) + NEW - 1 for text in TEXTS])
    assert (result.length == NEW).all() and not result.finished.any()


@settings(max_examples=8)
@given(rows=st.lists(st.integers(0, 5), min_size=3, max_size=3))
def test_a_text_is_a_function_of_parameters_key_index_and_prompt(generated, rows):
    """Batch, order, padding and chunks do not enter."""
    result = generate([TEXTS[row] for row in rows], rows, width=9, chunk=2)
    np.testing.assert_array_equal(result.tokens, generated.tokens[np.array(rows)])
    np.testing.assert_allclose(result.log_probs, generated.log_probs[np.array(rows)], atol=2e-5)


def test_another_index_is_another_text_and_the_same_one_is_the_same():
    rows = generate([TEXTS[0]] * 6, [0, 1, 2, 2**32 - 1, 0, 1]).tokens
    assert len({tuple(row) for row in rows.tolist()}) == 4
    np.testing.assert_array_equal(rows[:2], rows[4:])


def test_one_compile_serves_every_length_setting_stop_key_and_count(generated):
    before = traced.traces
    for number in range(1, 4):
        values = {
            "temperature": 0.5 * number,
            "k": number,
            "p": 1 / number,
            "low": 0.1 * number,
            "penalty": 1.0 + number,
        }
        texts = [text[:number] for text in TEXTS]
        result = generate(
            texts,
            np.arange(6) + number,
            key=jax.random.key(number),
            values=values,
            stop=[number, 3, -1],
            num_tokens=number,
        )
        assert (result.length <= number).all()
    assert traced.traces == before


def test_a_text_ends_at_its_own_stop_and_the_others_go_on(generated):
    stop = generated.tokens[:, 2:3]  # each text's third token, wherever it comes first
    result = generate(TEXTS, range(6), stop=np.concatenate([stop, -np.ones((6, 2), int)], 1))
    assert result.finished.all()
    for row, tokens in enumerate(generated.tokens):
        length = 1 + int(np.flatnonzero(tokens == stop[row])[0])
        assert result.length[row] == length <= 3
        np.testing.assert_array_equal(result.tokens[row], [*tokens[:length], *[-1] * (NEW - length)])
        np.testing.assert_array_equal(result.log_probs[row, length:], 0)


def test_each_text_may_have_its_own_number_of_tokens(generated):
    number = np.array([0, 1, 2, 3, 6, 5])
    result = generate(TEXTS, range(6), num_tokens=number)
    np.testing.assert_array_equal(result.length, number)
    np.testing.assert_array_equal(result.tokens, np.where(np.arange(NEW)[None] < number[:, None], generated.tokens, -1))


def test_a_call_with_the_returned_cache_and_the_last_token_goes_on():
    greedy = SETTINGS | {"temperature": 0.0, "penalty": 1.0}
    full = generate(TEXTS, range(6), values=greedy)
    first = generate(TEXTS, range(6), values=greedy, num_tokens=2)

    further = generate(first.tokens[:, 1:2], range(6), values=greedy, cache=first.cache, num_tokens=NEW - 2)
    np.testing.assert_array_equal(further.tokens[:, : NEW - 2], full.tokens[:, 2:])


CHAIN = rig.markov(5)


@quickly
def chain_program(temperature, most):
    def before(context):
        return jnp.broadcast_to(context.generated[:, None] < most, (context.generated.shape[0], 5))

    index, change = (
        np.arange(20_000),
        (processors.Temperature(temperature), processors.top_k(4), processors.allowed(before)),
    )
    prompt, cache = jnp.full((index.shape[0], 1), 2), rig.lengths_only(index.shape[0])
    return language.generate(KEY, CHAIN, cache, prompt, index, max_tokens=2, processor=processors.chain(*change))


def chain_of(temperature=0.7, most=9):
    """Two tokens of each text; all are allowed as long as a text has fewer than `most`."""
    return rig.on_host(chain_program(temperature, most))


def test_two_tokens_have_the_joint_distribution_of_the_processed_logits():
    def change(logits):
        return np.where(logits >= np.sort(logits, 1)[:, 1:2], np.asarray(logits, np.float64) / 0.7, -np.inf)

    result = chain_of().tokens
    first = scipy.special.softmax(change(CHAIN.table[2:3]), 1)[0]
    joint = (first[:, None] * scipy.special.softmax(change(CHAIN.table), 1)).ravel()
    counts = np.bincount(result @ np.array([5, 1]), minlength=25)
    assert not counts[joint == 0].any()
    possible = joint > 0
    assert scipy.stats.chisquare(counts[possible], 20_000 * joint[possible]).pvalue > 1e-3


def test_a_text_ends_unfinished_where_nothing_is_allowed_or_the_logits_are_no_numbers():
    result, broken = chain_of(most=1), chain_of(temperature=np.nan)
    np.testing.assert_array_equal(result.length, 1)
    np.testing.assert_array_equal(broken.length, 0)
    for ended in (result, broken):  # the cache is without the last token, with which a further call begins
        np.testing.assert_array_equal(ended.cache.length, ended.length)
    assert (
        not result.finished.any()
        and not broken.finished.any()
        and (broken.tokens == -1).all()
        and np.isfinite(result.log_probs).all()
    )


def test_a_text_without_tokens_generates_none_under_jit():
    result = generate([[], *TEXTS[1:]], range(6))
    np.testing.assert_array_equal(result.length, [0, *[NEW] * 5])


def test_tokens_stream_in_order_while_they_are_generated(generated):
    calls = []

    @quickly
    def streamed(prompt, stop):
        return language.generate(
            KEY,
            CHAIN,
            rig.lengths_only(2),
            prompt,
            np.array([5, 6]),
            max_tokens=8,
            stop=stop,
            on_token=lambda index, number, token: calls.append((index.tolist(), number.tolist(), token.tolist())),
        )

    result = rig.on_host(streamed(np.array([[1], [2]]), np.array([4])))
    jax.effects_barrier()
    for row, number in ((0, 5), (1, 6)):
        tokens = [step[2][row] for step in calls if step[2][row] >= 0]
        np.testing.assert_array_equal(tokens, result.tokens[row, : result.length[row]])
        assert all(step[0][row] == number for step in calls) and [step[1][row] for step in calls][
            : len(tokens)
        ] == list(range(len(tokens)))


def refused(prompt=((1, 2), (3, -1)), index=(0, 1), cache=None, key=KEY, **options):
    held = rig.lengths_only(2, 8) if cache is None else cache
    return lambda: decoding.generate(key, CHAIN, held, np.array(prompt), np.array(index), **{"max_tokens": 4} | options)


test_more_tokens_than_the_cache_holds_are_refused = pytest.mark.fault(
    "language models: more tokens than the cache holds"
)(
    refusals(
        (
            refused(max_tokens=7),
            "0 tokens in the cache, 2 of the prompt and max_tokens = 7 need room for 9, but the cache holds 8",
        ),
        (
            refused(cache=rig.lengths_only(2, 8).advanced((), jnp.array([3, 1]))),
            "3 tokens in the cache, 2 of the prompt and max_tokens = 4",
        ),
    )
)


def test_what_fills_a_cache_to_its_last_token_fits():
    decoding.check_room(rig.lengths_only(2, 8), (2, 5), 3)
    decoding.check_room(rig.lengths_only(2, 8).advanced((), jnp.array([3, 1])), (2, 2), 3)


test_what_does_not_fit_is_refused = refusals(
    (refused(cache=rig.lengths_only(3, 8)), "the cache is of 3 texts, but there are 2 prompts"),
    (refused(prompt=((1, -1), (-1, 2))), "padding before tokens"),
    (refused(prompt=((1.0, 2.0), (3.0, 1.0))), "prompt must hold integers", TypeError),
    (refused(prompt=(1, 2)), r"prompt has shape \(2,\)"),
    (refused(index=(0, 1, 2)), "index names 3 texts, but there are 2 prompts"),
    (refused(max_tokens=0), "max_tokens = 0"),
    (refused(chunk=0), "chunk = 0"),
    (refused(num_tokens=5), r"num_tokens = 5 is outside \[0, 4\]"),
    (refused(stop=np.array([0.5])), "stop must hold integers", TypeError),
    (refused(stop=np.zeros((3, 1), int)), r"stop has shape \(3, 1\)"),
    (refused(key=None), "key is None", TypeError),
    (lambda: jax.eval_shape(refused(processor=lambda logits, context: logits[:, :3])), "the processor answered shape"),
)


@pytest.mark.slow
@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="XLA of jax 0.10 copies each layer's cache in the loop")
def test_the_loop_writes_into_the_cache_and_never_copies_it():
    """Copies before the loop, of the empty cache, are none of the loop's."""

    def run(prompt):
        held = language.cache.full(rig.NETWORK, 1, 22)
        return language.generate(KEY, rig.MODEL, held, prompt, np.arange(1), max_tokens=8, chunk=4).tokens

    program = jax.jit(run).lower(jnp.ones((1, 8), jnp.int32)).compile().as_text()
    computation, copies = "", []
    for line in program.splitlines():
        computation = line if line.endswith("{") else computation
        if "f32[1,2,22,4]" in line and " copy(" in line:
            copies.append(computation.startswith("ENTRY"))
    assert "f32[1,2,22,4]" in program and all(copies)
