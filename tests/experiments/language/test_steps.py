"""A step that writes its cache in place answers the same each time, and as the model does."""

import jax.numpy as jnp
import numpy as np

from experiments.language import models, steps
from gendiff import language, networks
from tests.quickly import quickly


def test_a_step_in_place_answers_as_the_model_and_the_same_again():
    chat = models.tiny()
    model = language.from_network(networks.pure(chat.network), chat.params)
    ask = quickly(lambda model, tokens, cache: model(tokens, cache))
    _, begun = ask(model, jnp.array([[3, 1, 4]], jnp.int32), language.cache.full(chat.network, 1, 8))
    newest = jnp.array([[1]], jnp.int32)
    expected = np.asarray(ask(model, newest, begun)[0])
    step = steps.in_place()
    first, second = step(model, newest, begun), step(model, newest, begun)
    for answer in (first(), first(), second()):
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert not begun.length.is_deleted()
    assert step(model, newest, language.cache.full(chat.network, 1, 8))().shape == expected.shape
