"""A step that writes its cache in place answers the same each time, and as the model does."""

import numpy as np
import pytest

from gendiff import language, networks
from gendiff.commands.chat import steps
from tests.networks import rig
from tests.quickly import quickly


@pytest.mark.slow
def test_a_step_in_place_answers_as_the_model_and_the_same_again(monkeypatch):
    monkeypatch.setattr(steps, "jit", quickly)
    network = networks.LanguageModel(vocabulary=20, context=8, width=8, depth=1, heads=2)
    model = language.from_network(networks.pure(network), rig.random_params(network, np.zeros((1, 2), np.int32)))
    ask = quickly(lambda model, tokens, cache: model(tokens, cache))
    _, cached = ask(model, np.array([[3, 1, 4]], np.int32), language.cache.full(network, 1, 8))
    newest = np.array([[1]], np.int32)
    expected = np.asarray(ask(model, np.array([[1, -1, -1]], np.int32), cached)[0])
    step = steps.in_place()
    first, second = step(model, newest, cached), step(model, newest, cached)
    for answer in (first(), first(), second()):
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert not cached.length.is_deleted()
    assert step(model, newest, language.cache.full(network, 1, 8))().shape == expected.shape
