"""What becomes of prompts behind text encoders, which are formulas here: plain texts, weights, rows one after the
other.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import records
from gendiff.pipelines.stable_diffusion import Prompt, TextTowers
from tests.quickly import quickly
from tests.refusals import refusals

LENGTH, END = 5, 19


def encoder(pooled):
    """A formula in the place of a network: what a token becomes depends on those before it."""

    def encode(params, ids):
        tokens = jnp.cumsum(jnp.sin(jnp.asarray(params)[ids]), 1)
        return networks.Text(tokens, jnp.ones(ids.shape, bool), tokens[:, -1, :pooled])

    return encode


TOWERS = TextTowers(("one", "two"), (encoder(8), encoder(6)), ("two",))
EMPTY = np.array([[0, END, END, END, END]], np.int32)
IDS = np.array([[[0, 3, 4, END, END], [0, 5, END, END, END]], [[0, 6, 7, 8, END], EMPTY[0]]], np.int32)
ONES = np.ones(IDS.shape, np.float32)
PROMPT = Prompt((IDS, IDS), (ONES, ONES), (EMPTY, EMPTY), np.zeros(2, bool))
PARAMS = {
    name: np.random.default_rng(0).normal(size=(20, width)).astype(np.float32)
    for name, width in (("one", 8), ("two", 12))
}


@pytest.fixture(scope="module")
def alone():
    """Tokens (texts, rows, length, e) of each tower, and the pooled encodings of the second one, row by row."""
    ids = np.concatenate([IDS.reshape(4, LENGTH), EMPTY])
    first, second = (np.cumsum(np.sin(PARAMS[name][ids]), 1) for name in ("one", "two"))
    return first, second, second[:, -1, :6]


encode = quickly(TOWERS)


def test_plain_texts_are_the_encodings_of_their_rows_side_by_side_and_pooled_by_the_first(alone):
    text = encode(PARAMS, PROMPT)
    first, second, pooled = alone
    assert text.tokens.shape == (2, 2 * LENGTH, 20) and text.mask.all()
    np.testing.assert_allclose(text.tokens[..., :8], first[:4].reshape(2, 2 * LENGTH, 8), atol=1e-6)
    np.testing.assert_allclose(text.tokens[..., 8:], second[:4].reshape(2, 2 * LENGTH, 12), atol=1e-6)
    np.testing.assert_allclose(text.pooled, pooled[:4].reshape(2, 2, 6)[:, 0], atol=1e-6)


def test_a_weight_moves_a_token_from_that_of_the_empty_text(alone):
    weights = ONES.copy()
    weights[0, 0, 1], weights[0, 1, 1], weights[1, 0, 2] = 0.0, 1.5, 3.0
    text = encode(PARAMS, records.replace(PROMPT, weights=(weights, ONES)))
    first, second, _ = alone
    nothing, rows = first[4], first[:4].reshape(2, 2, LENGTH, 8)
    expected = nothing + weights[..., None] * (rows - nothing)
    np.testing.assert_allclose(text.tokens[..., :8], expected.reshape(2, 2 * LENGTH, 8), atol=1e-5)
    # its weights are 1
    np.testing.assert_allclose(text.tokens[..., 8:], second[:4].reshape(2, 2 * LENGTH, 12), atol=1e-6)
    np.testing.assert_allclose(text.tokens[0, 1, :8], nothing[1], atol=1e-5)


def test_a_blank_text_is_zeros_and_the_other_one_is_not():
    text = encode(PARAMS, records.replace(PROMPT, blank=np.array([True, False])))
    assert not text.tokens[0].any() and not text.pooled[0].any() and text.tokens[1].any() and text.pooled[1].any()


def test_gradients_reach_the_weights():
    def size(weights):
        return jnp.sum(TOWERS(PARAMS, records.replace(PROMPT, weights=(weights, ONES))).tokens ** 2)

    slope = quickly(jax.grad(size))(ONES)
    assert np.isfinite(slope).all() and np.abs(slope[0, 0, 1]) > 0


test_mistakes_are_refused = refusals(
    (lambda: TOWERS({"one": {}}, PROMPT), "params has no two"),
    (lambda: TOWERS({"one": {}, "two": {}}, records.replace(PROMPT, ids=(IDS,))), "of 1 tokenizers, and there are 2"),
)
