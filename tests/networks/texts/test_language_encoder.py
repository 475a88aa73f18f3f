"""A language model as a text encoder: its states are those that the language model heads, and padding is not seen."""

import jax
import numpy as np

from gendiff import networks
from tests.networks.rig import apply, random_params
from tests.refusals import refusals

FIELDS = {"vocabulary": 20, "context": 8, "width": 8, "heads": 4, "key_value_heads": 2, "head_size": 4, "mlp_width": 10}
ENCODER = networks.LanguageEncoder(**FIELDS, read=(1, 2), rotary_base=100.0)
IDS = np.array([[3, 7, 5, 1, -1, -1], [3, 9, 4, 4, 18, 1]], np.int32)


def test_states_are_what_a_language_model_heads_and_padding_is_no_part_of_them():
    params = jax.tree.map(np.asarray, random_params(ENCODER, IDS))
    text = apply(networks.pure(ENCODER), params, IDS)
    assert text.tokens.shape == (2, 6, 16) == (2, 6, ENCODER.text_width)
    np.testing.assert_array_equal(text.mask, IDS >= 0)
    states = np.asarray(text.tokens)[..., 8:]
    model = networks.LanguageModel(**FIELDS, depth=2, norm_heads=True, rotary_base=100.0, epsilon=1e-6)
    logits = apply(networks.pure(model), params | {"output_norm": {"scale": np.ones(8, np.float32)}}, IDS).logits
    normed = states / np.sqrt(np.mean(states**2, -1, keepdims=True) + 1e-6)
    np.testing.assert_allclose((normed @ params["token"].T)[IDS >= 0], np.asarray(logits)[IDS >= 0], atol=1e-4)

    other = np.where(IDS >= 0, IDS, -6)  # the vector of another id
    changed = apply(networks.pure(ENCODER), params, other).tokens
    np.testing.assert_array_equal(np.asarray(changed)[IDS >= 0], np.asarray(text.tokens)[IDS >= 0])
    assert np.abs(np.asarray(changed)[IDS < 0] - np.asarray(text.tokens)[IDS < 0]).max() > 0.1


def start(ids=IDS, **changes):
    return lambda: networks.init(ENCODER.clone(**changes), jax.random.key(0), ids)


test_wrong_fields_and_inputs_are_refused = refusals(
    (start(read=()), "read"),
    (start(read=(2, 1)), "read"),
    (start(read=(0,)), "read = 0"),
    (start(IDS[0]), "ids has shape"),
    (start(np.zeros((1, 9), np.int32)), "1 to 8 tokens"),
    (lambda: networks.pure(ENCODER)({}, np.array([[20]], np.int32)), "20"),
    (lambda: networks.pure(ENCODER)({}, np.array([[-21]], np.int32)), "20"),
)
