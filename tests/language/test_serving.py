"""More prompts than slots, and each text is what it is alone."""

import jax
import numpy as np
import pytest

from gendiff import language
from gendiff.language import processors
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals

SEED, NEW, SLOTS = 5, 6, 3
TEXTS = [[3, 1, 4], [9], [2, 6, 5, 3, 5], [8, 9], [7, 9, 3, 2], [3], [8, 4, 6], [2]]
PROMPTS, INDEX = rig.padded(TEXTS, 5), np.arange(10, 18)
NUMBER = np.array([6, 2, 6, 0, 5, 6, 1, 6])
CHANGE = processors.repetition_penalty(1.3)
KINDS = {
    "paged": lambda: language.cache.paged(rig.NETWORK, SLOTS, 12, pages=14, page=3),
    "full": lambda: language.cache.full(rig.NETWORK, SLOTS, 12),
}


@pytest.fixture(scope="module")
def alone():
    @quickly
    def run(stop):
        cache = language.cache.full(rig.NETWORK, 8, 12)
        options = {"max_tokens": NEW, "processor": CHANGE, "num_tokens": NUMBER, "stop": stop}
        return language.generate(jax.random.key(SEED), rig.MODEL, cache, PROMPTS, INDEX, **options)

    stop = np.asarray(run(np.full((8, 1), -1)).tokens)[:, 2:3]  # half of the texts end early
    return run(np.where(np.arange(8)[:, None] % 2, stop, -1)), np.where(np.arange(8)[:, None] % 2, stop, -1)


@pytest.mark.parametrize("kind", ["paged", pytest.param("full", marks=pytest.mark.slow)])
def test_each_text_is_that_of_its_prompt_alone(alone, kind):
    expected, stop = alone
    options = {"max_tokens": NEW, "processor": CHANGE, "num_tokens": NUMBER, "chunk": 2}
    result = rig.on_host(
        quickly(
            lambda stop: language.serve(
                jax.random.key(SEED), rig.MODEL, KINDS[kind](), PROMPTS, INDEX, stop=stop, **options
            )
        )(stop)
    )
    np.testing.assert_array_equal(result.tokens, expected.tokens)
    np.testing.assert_array_equal(result.length, expected.length)
    np.testing.assert_array_equal(result.finished, expected.finished)
    np.testing.assert_allclose(result.log_probs, expected.log_probs, atol=2e-5)
    work = int(np.asarray(expected.length).sum())
    assert -(-work // SLOTS) <= result.calls <= -(-work // SLOTS) + NEW  # no slot waits while prompts do


def test_no_prompts_are_no_texts():
    served = language.serve(
        jax.random.key(SEED),
        rig.MODEL,
        KINDS["full"](),
        PROMPTS[:0],
        INDEX[:0],
        max_tokens=NEW,
        stop=(1,),
        num_tokens=NUMBER[:0],
    )
    assert (served.tokens.shape, served.log_probs.shape, served.length.shape, served.finished.shape) == (
        (0, NEW),
        (0, NEW),
        (0,),
        (0,),
    )
    assert served.calls == 0


test_what_does_not_fit_is_refused = refusals(
    (
        lambda: language.serve(jax.random.key(SEED), rig.MODEL, rig.lengths_only(0, 8), PROMPTS, INDEX, max_tokens=4),
        r"slots \(texts of the cache\) = 0 is outside \[1",
    ),
    (
        lambda: language.serve(jax.random.key(SEED), rig.MODEL, rig.lengths_only(2, 8), PROMPTS, INDEX, max_tokens=4),
        "5 of the prompt and max_tokens = 4 need room for 9",
    ),
    (
        lambda: language.serve(jax.random.key(SEED), rig.MODEL, rig.lengths_only(2), PROMPTS, INDEX[:3], max_tokens=4),
        "index names 3 texts",
    ),
)
