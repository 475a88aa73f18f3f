"""The single-stream transformer: padding is no part of a text, words and image have places, and what is refused."""

import functools

import jax
import numpy as np

from gendiff import networks
from tests.networks.rig import apply, random_params
from tests.refusals import refusals

NETWORK = networks.SingleStreamTransformer(
    width=12, depth=1, refiners=1, heads=2, mlp_width=10, text_channels=5, rotary_channels=(2, 2, 2)
)
DRAW = np.random.default_rng(0)
X, WORDS = DRAW.normal(size=(2, 4, 6, 3)).astype(np.float32), DRAW.normal(size=(2, 34, 5)).astype(np.float32)
T = np.array([900.0, 100.0], np.float32)
MASK = np.arange(34)[None] < np.array([[3], [33]])


@functools.cache
def params():
    return random_params(NETWORK, X, T, networks.Text(WORDS, MASK))


def predict(x=X, words=WORDS, mask=MASK):
    return np.asarray(apply(networks.pure(NETWORK), params(), x, T, networks.Text(words, mask)))


def test_padding_may_stand_anywhere_and_hold_anything_and_each_sample_is_alone():
    result = predict()
    assert result.shape == X.shape and result.std() > 0.1
    np.testing.assert_allclose(predict(words=np.where(MASK[..., None], WORDS, np.nan)), result, atol=1e-5)
    turned = np.roll(WORDS, 1, 1), np.roll(MASK, 1, 1)
    np.testing.assert_allclose(predict(X, *turned), result, atol=1e-5)
    alone = np.stack([X[0], X[0]]), np.stack([WORDS[0], WORDS[0]]), np.stack([MASK[0], MASK[0]])
    np.testing.assert_allclose(predict(*alone)[0], result[0], atol=1e-5)


def test_the_order_of_words_and_the_place_of_a_patch_count():
    result = predict()
    swapped = WORDS.copy()
    swapped[:, :2] = WORDS[:, 1::-1]
    assert np.abs(predict(words=swapped) - result).max() > 1e-3
    assert np.abs(predict(np.roll(X, 2, 1)) - np.roll(result, 2, 1)).max() > 1e-3


def test_it_starts_at_0():
    start = networks.init(NETWORK, jax.random.key(0), X, T, networks.Text(WORDS, MASK))
    assert not np.any(apply(networks.pure(NETWORK), start, X, T, networks.Text(WORDS, MASK)))


def begin(x=X, *condition, **changes):
    return lambda: networks.init(NETWORK.clone(**changes), jax.random.key(0), x, T, *condition)


TEXT = networks.Text(WORDS, MASK)
test_wrong_fields_and_inputs_are_refused = refusals(
    (begin(), "text"),
    (begin(X[:, :3], TEXT), "patch"),
    (begin(X, TEXT, text_channels=4), "text_channels"),
    (begin(X, TEXT, rotary_channels=(2, 2, 4)), "rotary_channels"),
    (begin(X, TEXT, depth=0), "depth"),
    (begin(X, TEXT, refiners=-1), "refiners"),
)
