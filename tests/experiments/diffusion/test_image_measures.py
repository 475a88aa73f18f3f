"""Measures of sets of pictures without labels."""

import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.images.config import Config
from experiments.diffusion.images.measures import Measures


def test_no_interval_of_precision_and_recall_vanishes_where_a_draw_could_be_the_whole_set():
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (90, 4, 4, 1)).astype(np.uint8)
    measures = Measures(Config(features="pixels", samples=30, control_samples=30, draw_size=400), real[:30], real[30:])
    for of in (measures.real, measures.measure(rng.integers(0, 256, (30, 4, 4, 1)).astype(np.uint8))):
        assert of.precision[1] < of.precision[2] and of.recall[1] < of.recall[2]


def test_a_short_log_is_averaged_over_few_lines():
    assert [image_training.smoothed(lines) for lines in (1, 4, 6, 20, 99, 100, 5000)] == [1, 1, 1, 4, 19, 20, 20]
