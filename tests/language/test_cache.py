"""One contract for every kind of cache: with it, a model answers what it answers to whole texts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gendiff import language, networks, scaling
from gendiff.core import records
from gendiff.language import cache
from gendiff.language.cache.cache import write_together
from gendiff.language.cache.eight_bits import dequantised, quantised
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.traced import Traced
from tests.variants import some_slow

pytestmark = pytest.mark.numbers

NETWORK = rig.DEEP
WINDOWED = rig.NETWORK.clone(window=5)
TOKENS = np.random.default_rng(0).integers(0, rig.VOCABULARY, (3, 12)).astype(np.int32)
NEW = 4
"""The most tokens of one call here."""
PAGES = 67
ORDER = np.random.default_rng(1).permutation(np.arange(1, PAGES))

KINDS = {
    "full": (NETWORK, cache.full),
    "ring": (WINDOWED, functools.partial(cache.ring, window=5, slack=3)),
    "sinks": (rig.NETWORK, functools.partial(cache.ring, window=4, sinks=2, slack=3)),
    "paged": (NETWORK, functools.partial(cache.paged, pages=PAGES, page=3, order=ORDER)),
    "int8": (rig.NETWORK, cache.int8),
}
WHOLE = {"sinks": functools.partial(cache.full, window=4, sinks=2), "int8": cache.int8}
"""With which cache one call answers what a kind must equal. Otherwise it is the answer without a cache."""
TOLERANCE = {"int8": 5e-3}  # where a number lies between two whole ones, rounding of another program decides
SLOW = ("sinks", "int8")
every_kind = pytest.mark.parametrize("kind", some_slow(KINDS, SLOW))


@functools.cache
def model(network):
    return language.next_logits.from_network(networks.pure(network), rig.PARAMS)


rewind = quickly(lambda held, length: held.rewound(length))
ask = Traced(lambda model, tokens, cache: model(tokens, cache, True), quickly)


@functools.cache
def full(kind):
    network = KINDS[kind][0]
    held = WHOLE[kind](network, 3, 12) if kind in WHOLE else None
    return np.asarray(ask(model(network), TOKENS, held)[0])


@functools.cache
def empty(kind):
    network, build = KINDS[kind]
    return quickly(lambda: build(network, 3, 64))()


def goes_on(kind, held, count):
    """The cache with so many more tokens of each text (3,), whose answers are compared with those to whole texts."""
    lengths = np.asarray(held.length)
    tokens = np.full((3, NEW), -1, np.int32)
    for text in range(3):
        tokens[text, : count[text]] = TOKENS[text, lengths[text] : lengths[text] + count[text]]
    logits, after = ask(model(KINDS[kind][0]), tokens, held)
    logits = np.asarray(logits)
    np.testing.assert_array_equal(after.length, lengths + count)
    for text in range(3):
        expected = full(kind)[text, lengths[text] : lengths[text] + count[text]]
        np.testing.assert_allclose(logits[text, : count[text]], expected, atol=TOLERANCE.get(kind, 1e-5))
    return after


@every_kind
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_split_of_ragged_texts_with_rewinds_answers_as_whole_texts(kind, seed):
    rng = np.random.default_rng(seed)
    held, furthest = empty(kind), np.zeros(3, int)
    for _ in range(40):
        lengths = np.asarray(held.length)
        if (lengths == 12).all():
            break
        held = goes_on(kind, held, np.minimum(rng.integers(0, NEW + 1, 3), 12 - lengths))
        furthest = np.maximum(furthest, held.length)
        if rng.random() < 0.3:
            low = np.maximum(furthest - NEW, 0)
            held = rewind(held, low + rng.integers(0, np.maximum(np.asarray(held.length) - low, 0) + 1))
        check_pages(held)


def check_pages(held):
    """No page is lost or had twice."""
    if isinstance(held, cache.PagedCache):
        table = np.asarray(held.layers[0].table)
        pages = np.concatenate([[0], np.asarray(held.free)[: int(held.available)], table[table > 0]])
        np.testing.assert_array_equal(np.sort(pages), np.arange(PAGES))
        np.testing.assert_array_equal((table > 0).sum(1), -(-np.asarray(held.length) // held.page))


@pytest.mark.parametrize("places", [NEW, pytest.param(1, marks=pytest.mark.slow)])
@every_kind
def test_64_tokens_one_by_one_take_one_compile(kind, places):
    """In calls that have room for four, which other tests compile too, and in those of a loop."""

    def step(token, held):
        logits, held = ask(model(KINDS[kind][0]), np.pad(token, ((0, 0), (0, places - 1)), constant_values=-1), held)
        return np.asarray(logits)[:, 0], held

    held, expected = empty(kind), full(kind)  # which is a program of its own
    for number in range(64):
        logits, held = step(TOKENS[:, number % 12, None], held)
        traces = ask.traces if number == 0 else traces
        if number < 12:
            np.testing.assert_allclose(logits, expected[:, number], atol=TOLERANCE.get(kind, 1e-5))
    assert np.isfinite(logits).all()
    beyond, _ = step(TOKENS[:, :1], held)
    assert ask.traces == traces and np.isnan(beyond).all()  # under jit a full cache answers no number
    with pytest.raises(ValueError, match="text 0 would have 65 tokens, but the cache holds 64"):
        model(KINDS[kind][0])(TOKENS[:, :1], held)


def test_pages_in_any_order_hold_bitwise_what_one_buffer_holds():
    """The layers alone: two programs around them may round a model's keys differently."""

    @quickly
    def written(cache, key, value, start):
        count = jnp.full(3, NEW)
        cache = cache.opened(count, NEW)
        positions = jnp.broadcast_to(start + jnp.arange(NEW), (3, NEW))
        return cache.advanced(tuple(layer.updated(key, value, positions)[0] for layer in cache.layers), count)

    held, pages = empty("full"), empty("paged")
    draws = np.random.default_rng(2)
    for start in range(0, 12, NEW):
        key, value = draws.normal(size=(2, 3, NEW, *pages.layers[0].key.shape[1::2])).astype(np.float32)
        held, pages = (written(each, key, value, start) for each in (held, pages))
    held, pages = rig.on_host((held, pages))
    places = np.arange(12)
    for one, other in zip(held.layers, pages.layers, strict=True):
        for buffer, pool in ((one.key, other.key), (one.value, other.value)):
            assert np.all(buffer[:, :, :12] != 0)
            np.testing.assert_array_equal(
                buffer[:, :, :12].swapaxes(1, 2), pool[other.table[:, places // 3], :, places % 3]
            )


def test_a_text_for_which_no_page_is_left_answers_no_number_and_the_others_theirs():
    few = records.replace(empty("paged"), available=np.int32(4))
    logits, after = ask(model(NETWORK), TOKENS[:, :NEW], few)
    logits = np.asarray(logits)
    assert np.isfinite(logits[:2]).all() and np.isnan(logits[2]).any() and int(after.available) == 0
    with pytest.raises(ValueError, match="6 pages are needed, but 4 are free"):
        model(NETWORK)(TOKENS[:, :NEW], few)
    given_back = rewind(after, np.array([0, 4, 0]))
    assert int(given_back.available) == 2
    logits, _ = ask(model(NETWORK), TOKENS[:, :NEW], rewind(given_back, np.array([0, 0, 0])))
    np.testing.assert_allclose(np.asarray(logits)[0], full("full")[0, :NEW], atol=1e-5)


def test_a_narrowed_cache_answers_as_all_of_it_and_is_put_back():
    """Its texts take further pages, and one rests that has more than its first ones."""

    @quickly
    def both(held, tokens, count):
        few = jnp.where(jnp.arange(NEW)[None] < count[:, None], tokens, -1)
        logits, after = model(NETWORK)(few, held)
        narrow, changed = model(NETWORK)(few, held.narrowed(3))
        return (logits, after), (narrow, held.widened(changed))

    held = goes_on("paged", goes_on("paged", empty("paged"), np.array([4, 4, 1])), np.array([4, 1, 0]))
    held = goes_on("paged", held, np.array([4, 0, 0]))
    wide, narrow = rig.on_host(both(held, TOKENS[:, :NEW], np.array([0, 3, 4])))
    assert held.layers[0].table[0, 3] != 0 and narrow[1].length.tolist() == [12, 8, 5]
    np.testing.assert_allclose(wide[0][1:], narrow[0][1:], atol=1e-5)
    for one, other in zip(jax.tree.leaves(wide[1]), jax.tree.leaves(narrow[1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_a_ring_forgot_stays_forgotten_when_the_text_grows_again():
    """Its slots were written by the longest text so far, however short the present one is."""
    ten = jnp.array([10], jnp.int32)
    grown = cache.Cache((), ten, 30, reach=4, longest=ten).rewound(7).advanced((), jnp.array([1], jnp.int32))
    assert (grown.length, grown.longest) == (8, 10) and grown.rewound(6).length == 6
    with pytest.raises(ValueError, match=r"length = 5 is outside \[6, 8\]"):
        grown.rewound(5)
    assert (
        records.replace(grown, length=jnp.array([6])).room() == 30
        and records.replace(grown, length=jnp.array([5])).room() == 0
    )


def test_a_ring_that_was_rewound_too_far_answers_no_number_under_jit():
    held = goes_on("ring", goes_on("ring", goes_on("ring", empty("ring"), np.full(3, 4)), np.full(3, 4)), np.full(3, 2))
    logits, _ = ask(model(WINDOWED), TOKENS[:, :NEW], rewind(held, np.array([5, 6, 10])))
    logits = np.asarray(logits)
    assert np.isnan(logits[0]).all() and np.isfinite(logits[1:]).all()


@pytest.mark.parametrize("kind", some_slow(("full", "ring", "int8"), SLOW))
def test_rows_are_taken_put_back_and_reordered(kind):
    held = goes_on(kind, empty(kind), np.array([4, 2, 3]))

    @quickly
    def same(held, order):
        return held.row(1).length, held.with_row(1, held.row(1)), held.reordered(order).reordered(order)

    length, *others = same(held, np.array([1, 0, 2]))
    for other in others:
        goes_on(kind, other, np.array([3, 4, 2]))
    assert np.asarray(length) == 2


def test_numbers_in_8_bits_are_within_half_a_step_of_what_they_were():
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32) * 10.0 ** np.arange(-3, 2)[:, None].astype(
        np.float32
    )
    x[1] = 0
    x[2, 0] = np.abs(x[2]).max()  # a positive maximum is 127, not 128

    @quickly
    def there_and_back(x):
        whole_numbers, scale = quantised(x)
        return whole_numbers, scale, dequantised(whole_numbers, scale)

    *packed, back = rig.on_host(there_and_back(np.concatenate([x, np.full((1, 7), np.nan, np.float32)])))
    whole_numbers, scale = (each[:5] for each in packed)
    assert np.abs(whole_numbers.astype(int)).max() == 127 and not whole_numbers[1].any()
    assert (np.abs(back[:5] - x) <= scale[:, None] * 0.5001).all()
    assert np.isnan(back[5]).all()


def test_8_bits_change_the_answer_little():
    exact = np.stack(rig.full(TOKENS))
    assert np.abs(full("int8") - exact).max() < 0.03 * np.abs(exact).max()


@table("texts", [1, 2])
def test_tokens_are_written_where_they_belong_and_never_beside_it(texts):
    write = quickly(write_together)
    old = np.arange(texts * 2 * 6 * 1, dtype=np.float32).reshape(texts, 2, 6, 1)
    for s in (1, 4):
        new = -1 - np.arange(texts * 2 * s, dtype=np.float32).reshape(texts, 2, s, 1)
        for start in range(8):
            for count in range(s + 1):
                expected = np.concatenate([old, np.zeros((texts, 2, 8, 1), np.float32)], 2)
                expected[:, :, start : start + count] = new[:, :, :count]
                result = write(old, new, np.full(texts, start, np.int32), np.full(texts, count, np.int32))
                np.testing.assert_array_equal(result, expected[:, :, :6])


def test_bytes_are_those_of_the_formula():
    count = functools.partial(scaling.cost.cache_bytes, layers=2, key_value_heads=2, head_size=4)
    lengths = 3 * 4

    def nbytes(kind, *options):
        return cache.nbytes(jax.eval_shape(lambda: KINDS[kind][1](NETWORK, 3, 64, *options)))

    assert nbytes("full") == 3 * count(64, bytes_per_number=4.0) + lengths
    assert nbytes("full", jnp.bfloat16) == 3 * count(64) + lengths
    assert nbytes("sinks") == 3 * count(4 + 2 + 3, bytes_per_number=4.0) + 2 * lengths
    assert nbytes("int8") == 3 * count(64, bytes_per_number=1 + 4 / 4) + lengths
    table = 2 * 3 * 22 * 4  # of two layers
    assert nbytes("paged") == count(PAGES * 3, bytes_per_number=4.0) + lengths + table + (PAGES - 1) * 4 + 4


test_what_does_not_fit_is_refused = refusals(
    (lambda: cache.full(NETWORK, 1, 97), r"capacity = 97 is outside \[1, 96\]"),
    (lambda: cache.full(NETWORK, 0, 8), "batch = 0"),
    (lambda: cache.ring(NETWORK, 1, 8, window=0), "window = 0"),
    (lambda: cache.ring(NETWORK, 1, 8, window=2, sinks=-1), "sinks = -1"),
    (lambda: cache.ring(NETWORK, 1, 8, window=2, slack=-1), "slack = -1"),
    (
        lambda: model(NETWORK)(TOKENS[:1, :6], cache.ring(NETWORK, 1, 8, window=2, slack=3)),
        "6 tokens at once, but the cache takes at most 4",
    ),
    (lambda: cache.paged(NETWORK, 1, 8, pages=1), "pages = 1"),
    (lambda: cache.paged(NETWORK, 1, 8, pages=4, order=[1, 2, 2]), "each of the pages 1 … 3 once"),
    (lambda: cache.paged(NETWORK, 1, 8, pages=4).reordered(jnp.array([0])), "cannot be copied", TypeError),
    (lambda: cache.full(NETWORK, 2, 8).rewound(1), r"length = 1 is outside \[0, 0\]"),
    (lambda: cache.full(NETWORK, 2, 8).rewound(-1), "length = -1 is outside"),
    (
        lambda: cache.ring(NETWORK, 1, 32, window=2, slack=3).advanced((), jnp.array([9])).rewound(4),
        r"length = 4 is outside \[5, 9\]",
    ),
    (lambda: model(NETWORK)(TOKENS, cache.full(NETWORK, 3, 8)), "text 0 would have 12 tokens, but the cache holds 8"),
)
