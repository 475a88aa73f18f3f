"""What the experiment compares, on a small network: equalities hold, and planted mistakes are far off."""

import functools

import numpy as np
import pytest

from experiments.language.kv_cache import timing
from experiments.language.kv_cache.exactness import Model, mistaken
from gendiff import networks
from gendiff.commands.chat import steps
from gendiff.language import cache as caches
from tests.networks import rig
from tests.quickly import quickly

NETWORK = networks.LanguageModel(vocabulary=257, context=256, width=16, depth=1, heads=2)
IDS = np.random.default_rng(0).integers(0, 256, (2, 24)).astype(np.int32)


@pytest.fixture(scope="module", autouse=True)
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "jit", quickly)
        yield Model(NETWORK, rig.drawn(NETWORK, IDS))


@pytest.fixture(scope="module")
def whole(model):
    return np.asarray(model.whole(IDS))


@functools.cache
def full(batch=1):
    return caches.full(NETWORK, batch, 32)


@pytest.mark.slow
def test_every_split_every_chunk_and_texts_of_unequal_lengths_answer_as_the_whole(model, whole):
    for split in (1, 7, 23):
        assert model.walked(full(), IDS[0], whole[0], split) < 1e-4
    assert model.in_chunks(full(), IDS[0], whole[0], 5) < 1e-4
    assert model.ragged(full(2), IDS, whole, np.array([3, 16]), 8) < 1e-4
    assert model.walked(full(), IDS[1], whole[0], 7) > 1e-2  # another text


@pytest.mark.slow
def test_tokens_that_are_taken_back_leave_nothing_and_those_that_are_not_do(model, whole):
    assert model.forgetting(full(), IDS[0], whole[0], 9, 4, True) < 1e-4
    assert model.forgetting(full(), IDS[0], whole[0], 9, 4, False) > 1e-2


@pytest.mark.slow
def test_a_window_that_shows_the_first_slots_is_far_off(model):
    narrow = np.asarray(Model(NETWORK.clone(window=4), model.params).whole(IDS[:1]))[0]
    ring = caches.ring(NETWORK, 1, 32, window=4, slack=24)
    assert model.walked(ring, IDS[0], narrow, 1) < 1e-4
    assert model.walked(mistaken(full(), 4), IDS[0], narrow, 1) > 1e-2


def test_one_program_serves_all_steps_and_the_bytes_are_those_of_the_formula(model):
    assert timing.programs(model, IDS[0], 6, 8) == 1
    assert caches.nbytes(full(2).layers) == timing.formula_bytes(NETWORK, 2, 32)


def test_the_exponent_of_a_power_is_found():
    lengths, noise = (10, 100, 1000), np.random.default_rng(0).normal(1, 0.01, (3, 20))
    for power in (0.0, 1.0):
        value, low, high = timing.exponent(lengths, np.array(lengths, float)[:, None] ** power * noise, 50)
        assert low <= power <= high or abs(value - power) < 0.01
