"""The roofline of serving on made-up seconds: the rates that made them are found, and rounds belong together."""

import dataclasses

import numpy as np
import pytest

from experiments.language import serving
from experiments.language.serving import ARITHMETIC, EXPERIMENT, RATES, REFILLED, THIS, WAIT, Sizes
from gendiff.commands.chat import models

CONFIG = dataclasses.replace(
    EXPERIMENT.presets["full"], batches=(1, 2, 4, 8, 32), contexts=(128, 1024), rounds=3, resamples=20
)
SIZES = Sizes(parameters=1e8, nbytes=4e8, per_token=2e4)
FLOPS, BANDWIDTH = 8e10, 1e10


def steps():
    """Seconds by (texts, tokens of each) on a machine of these rates."""
    pairs = [(batch, context) for context in CONFIG.contexts for batch in CONFIG.batches]
    return {
        (batch, context): batch * context * SIZES.per_token / BANDWIDTH
        + max(2 * batch * SIZES.parameters / FLOPS, SIZES.nbytes / BANDWIDTH)
        for batch, context in pairs
    }


def measured(seconds, read=8e9):
    rounds = {pair: np.full(3, each) if np.ndim(each) == 0 else each for pair, each in seconds.items()}
    return {
        each.name: each.measures
        for each in serving.judge_steps(CONFIG, SIZES, rounds, np.array([1.0, 0.9, 0.4]) * read)
    }


def test_the_two_rates_that_made_the_seconds_are_found_and_arithmetic_alone_leaves_more():
    result = measured(steps())
    rates = result[RATES]["GFLOP/s"], result[RATES]["GB/s"]
    assert rates == pytest.approx((FLOPS / 1e9, BANDWIDTH / 1e9), rel=1e-3) and result[RATES]["misfit"] < 1e-3
    one_off = steps()
    one_off[8, 1024] *= 1.5
    assert measured(one_off)[RATES]["misfit"] < 0.1  # one of ten
    seconds = np.array(list(steps().values()))
    bound = np.array([2 * batch * SIZES.parameters / (1e9 * result[ARITHMETIC]["GFLOP/s"]) for batch, _ in steps()])
    misfit = result[ARITHMETIC]["misfit"]
    assert misfit == pytest.approx(np.median(np.abs(bound / seconds - 1))) and misfit > 0.25
    assert np.exp(np.mean(np.log(bound / seconds))) == pytest.approx(1.0, rel=1e-3)  # the best in logarithms
    wild = {pair: each * (10.0 if sum(pair) % 3 else 0.1) for pair, each in steps().items()}
    assert measured(wild)[RATES]["misfit"] > 0.25


def test_rounds_belong_together():
    """Where the machine is slow in one, it is slow for all of that round."""
    slow = {(1, 128): np.array([0.05, 0.04, 0.1]), (32, 128): np.array([0.75, 0.6, 1.5])}
    result = measured(steps() | slow)
    assert (result[THIS]["bandwidth"][0], result[THIS]["gain"][0]) == pytest.approx((4e8 / 0.1 / 3.2e9, 32 / 15))
    assert result["32 × 128"]["tokens per second"] == pytest.approx(32 / 0.75)


def test_batches_wait_for_the_longest_of_their_texts():
    assert serving.waiting(np.array([3, 1, 2, 5, 4]), 2) == 3 + 5 + 4
    assert serving.waiting(np.array([3, 1, 2, 5, 4]), 8) == 5
    wait, refilled = serving.judge_texts(
        CONFIG, np.array([3, 1, 2]), np.array([1.0, 2.0, 1.2]), np.array([0.8, 1.6, 1.2])
    )
    assert (wait.name, wait.measures["steps"], wait.measures["tokens per second"]) == (WAIT, 3, 5.0)
    assert refilled.name == REFILLED and refilled.measures["faster"][0] == pytest.approx(1.25)


def test_sizes_are_those_of_the_arrays():
    chat = models.tiny()
    width, vocabulary = chat.network.width, chat.network.vocabulary
    sizes = serving.sizes(chat)
    assert (
        sizes.parameters == vocabulary * width + 4 * width**2 + 3 * 4 * width**2 + 3 * width
        and sizes.nbytes == 4 * sizes.parameters
    )
    assert sizes.per_token == 2 * width * 4 * chat.network.depth  # keys and values in float32
