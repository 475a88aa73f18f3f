"""The digits experiment: its measures on sets whose answer is known."""

import numpy as np
import pytest

from experiments.diffusion import digits, image_draws
from experiments.diffusion.image_judge import DigitsJudge


@pytest.fixture(scope="module")
def judge():
    return DigitsJudge(draws=3, size=600)


def test_real_digits_reach_the_floor_and_pass_every_claim(judge):
    real = judge.measure(judge.split.train_images, judge.split.train_labels)
    assert real.frechet[0] == pytest.approx(1.0)
    assert real.accuracy[0] > 0.98
    assert min(real.precision[0], real.recall[0]) > 0.8
    assert real.copies[0] == 1.0  # they are the training digits


def test_noise_fails_every_claim_but_that_of_near_copies(judge):
    noise = np.random.default_rng(0).standard_normal((600, 8, 8, 1)).astype(np.float32)
    measured = judge.measure(noise, image_draws.labels(600, 10))
    assert measured.frechet[1] > 10
    assert measured.accuracy[2] < 0.3
    assert measured.precision[0] == measured.copies[0] == 0.0


def test_labels_go_through_the_classes_in_turn():
    assert image_draws.labels(12, 10).tolist() == [*range(10), 0, 1]


def test_only_the_demo_leaves_out_the_second_training():
    presets = digits.EXPERIMENT.presets
    assert presets["full"].shuffled_steps > 0 and presets["demo"].shuffled_steps == 0
    assert presets["full"].control_samples > presets["full"].draw_size  # equal sizes would make all draws one
