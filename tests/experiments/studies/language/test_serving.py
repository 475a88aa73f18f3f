"""The roofline of serving on made-up seconds: the rates that made them are found, and claims hold and fail at their thresholds."""

import dataclasses

import numpy as np
import pytest

from experiments.language.serving import EXPERIMENT, judge, timing
from experiments.language.serving.timing import Sizes
from gendiff.commands.chat import models

CONFIG = dataclasses.replace(EXPERIMENT.presets["full"], batches=(1, 2, 4, 8, 32), contexts=(128, 1024), rounds=3, resamples=20)
SIZES = Sizes(parameters=1e8, nbytes=4e8, per_token=2e4)
FLOPS, BANDWIDTH = 8e10, 1e10


def steps(scale=1.0):
    """Seconds of each place on a machine of these rates."""
    places = [(batch, context) for context in CONFIG.contexts for batch in CONFIG.batches]
    return {
        (batch, context): scale
        * (batch * context * SIZES.per_token / BANDWIDTH + max(2 * batch * SIZES.parameters / FLOPS, SIZES.nbytes / BANDWIDTH))
        for batch, context in places
    }


def test_the_two_rates_that_made_the_seconds_are_found():
    machine, misfit = timing.fitted(SIZES, steps())
    assert (machine.flops, machine.bandwidth) == pytest.approx((FLOPS, BANDWIDTH), rel=1e-3) and misfit < 1e-3


def test_the_misfit_is_the_median_of_what_is_left_and_arithmetic_alone_leaves_more():
    one_off = steps()
    one_off[8, 1024] *= 1.5
    assert timing.fitted(SIZES, one_off)[1] < 0.1  # one place of ten
    alone, misfit = timing.fitted(SIZES, steps(), memory=False)
    seconds = np.array(list(steps().values()))
    bound = np.array([2 * batch * SIZES.parameters / alone.flops for batch, _ in steps()])
    assert misfit == pytest.approx(np.median(np.abs(bound / seconds - 1))) and misfit > 0.25
    assert np.exp(np.mean(np.log(bound / seconds))) == pytest.approx(1.0, rel=1e-3)  # the best in logarithms


def test_batches_wait_for_the_longest_of_their_texts():
    assert timing.waiting(np.array([3, 1, 2, 5, 4]), 2) == 3 + 5 + 4
    assert timing.waiting(np.array([3, 1, 2, 5, 4]), 8) == 5


def test_sizes_are_those_of_the_arrays():
    chat = models.tiny()
    width, vocabulary = chat.network.width, chat.network.vocabulary
    sizes = timing.sizes(chat)
    assert sizes.parameters == vocabulary * width + 4 * width**2 + 3 * 4 * width**2 + 3 * width and sizes.nbytes == 4 * sizes.parameters
    assert sizes.per_token == 2 * width * 4 * chat.network.depth  # keys and values in float32


def claims(read, many, waiting):
    """read: bytes per second. many: seconds of a step of 32 texts. waiting: seconds beside 1 of refilled places."""
    seconds = {place: np.full(3, each) for place, each in steps().items()}
    seconds[1, 128], seconds[32, 128] = np.array([0.05, 0.04, 0.1]), np.array([0.5, 0.4, 1.0]) * many
    made = judge.claims(CONFIG, SIZES, seconds, np.array([1.0, 0.9, 0.4]) * read, {"waits": (waiting,) * 3, "refilled": (1.0,) * 3})
    return {each.id: each for each in made}


def test_every_claim_holds_at_its_threshold_and_fails_beyond():
    """Rounds belong together: where the machine is slow in one, it is slow for all of that round."""
    held = claims(read=8e9, many=1.5, waiting=1.125)
    assert {each.verdict for each in held.values()} == {"PASS"} and held["arithmetic"].kind == "control"
    assert held["continuous"].value == 1.125
    assert (held["bandwidth"].value, held["gain"].value) == pytest.approx((4e8 / 0.1 / 3.2e9, 32 / 15))
    failed = claims(read=2e10, many=1.7, waiting=1.0625)
    assert {each.id for each in failed.values() if each.verdict == "FAIL"} == {"bandwidth", "gain", "continuous"}


def test_seconds_without_a_law_are_no_roofline():
    wild = {place: np.full(3, each * (10.0 if sum(place) % 3 else 0.1)) for place, each in steps().items()}
    made = judge.claims(CONFIG, SIZES, wild, np.full(3, 8e9), {"waits": (1.0,) * 3, "refilled": (1.0,) * 3})
    assert made[0].id == "misfit" and made[0].verdict == "FAIL" and made[0].threshold == 0.25
