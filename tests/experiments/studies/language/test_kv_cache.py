"""On a small network every way to read a text answers as the whole; differences, programs and times of made-up
models.
"""

import dataclasses

import numpy as np
import pytest

from experiments.language import kv_cache
from experiments.language.kv_cache import CACHED, EXPERIMENT, UNCACHED
from gendiff import language, networks
from gendiff.commands.chat import steps
from gendiff.pipelines import Chat
from tests.networks import rig
from tests.quickly import quickly

NETWORK = networks.LanguageModel(vocabulary=257, context=256, width=16, depth=1, heads=2)
IDS = np.random.default_rng(0).integers(0, 256, (kv_cache.BATCH, 20 + kv_cache.AHEAD)).astype(np.int32)


@pytest.fixture(scope="module")
def chat():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "jit", quickly)
        yield Chat(NETWORK, rig.random_params(NETWORK, IDS), language.tokens.plain(), None)


@pytest.mark.slow
def test_every_way_to_read_a_text_answers_as_the_whole(chat):
    result = dict(kv_cache.differences(dataclasses.replace(EXPERIMENT.smoke, tokens=20), chat, IDS, 0))
    assert len(result) == 6 and max(result.values()) < 1e-5


def test_the_largest_difference_is_that_of_any_token_that_is_read():
    """Of a model whose logits are its tokens, one of which differs."""
    expected = np.arange(10.0, dtype=np.float32).reshape(2, 5, 1)
    texts, calls = expected[..., 0].astype(np.int32), []

    def read(tokens, cache):
        calls.append(tokens.shape[1])
        return tokens[..., None].astype(np.float32), cache

    ends = np.array([[3, 1], [4, 2], [5, 5]])
    cache = language.cache.Cache((), np.zeros(2, np.int32), 5)
    assert kv_cache.largest_difference(read, cache, texts, expected, ends, 4) == 0 and calls == [4, 1, 4]
    expected[1, 4] += 0.5
    assert kv_cache.largest_difference(read, cache, texts, expected, ends, 4) == 0.5
    expected[0, 0] -= 2
    assert kv_cache.largest_difference(read, cache, texts, expected, ends, 4) == 2


def test_one_program_serves_all_steps(chat):
    assert kv_cache.programs(chat, IDS[0], 6) == 1


def test_tokens_of_one_text_are_one_number_of_the_change_by_8_bits(chat):
    config = dataclasses.replace(EXPERIMENT.smoke, texts=3, judged=16)
    same, other = (kv_cache.eight_bits(config, chat, ids) for ids in (np.tile(IDS[0, :16], 3), IDS[:2, :24].ravel()))
    assert same.n == 3 and np.ptp(same.measures["change"]) < 1e-6 < np.ptp(other.measures["change"])


def test_the_exponent_of_a_power_is_found():
    config = dataclasses.replace(EXPERIMENT.presets["full"], lengths=(10, 100, 1000), resamples=50)
    noise = np.random.default_rng(0).normal(1, 0.01, (3, 20))
    spent = {
        way: np.array(config.lengths, float)[:, None] ** power * noise
        for way, power in ((CACHED, 0.0), (UNCACHED, 1.0))
    }
    *rows, cached, without = kv_cache.judge_times(config, spent)
    for each, power in ((cached, 0.0), (without, 1.0)):
        value, low, high = each.measures["exponent"]
        assert low <= power <= high or abs(value - power) < 0.01
    assert rows[1].measures["tokens before"] == 100 and rows[1].measures[UNCACHED] == pytest.approx(1e5, rel=0.01)
