"""On the real digits: real against real passes what the null controls fail."""

import numpy as np
import pytest

from gendiff.data import digits, scaling
from gendiff.metrics import baselines, features, frechet, near_copies, precision_recall


@pytest.fixture(scope="module")
def split():
    return digits.load()


def rounded(images):
    return features.pixels(scaling.round_to_levels(images, digits.LEVELS))


def controls(split, name):
    rng = np.random.default_rng(0)
    wanted = np.repeat(np.arange(10), 150)
    return rounded(getattr(baselines, name)(split.train_images, split.train_labels, rng, wanted))


def test_a_gaussian_for_each_class_is_further_than_the_floor_allows(split):
    train, held_out = features.pixels(split.train_images), features.pixels(split.held_out_images)
    floor = frechet.over_subsets(held_out, train, seed=0).mean()
    assert frechet.over_subsets(held_out, controls(split, "gaussian_per_class"), seed=0).mean() > 1.75 * floor


def test_smote_is_known_by_its_copies_and_by_what_it_does_not_reach(split):
    train, held_out = features.pixels(split.train_images), features.pixels(split.held_out_images)
    samples = controls(split, "smote")
    assert near_copies.rate(samples, train) > near_copies.rate(held_out, train) + 0.5
    reached, real = (precision_recall.over_subsets(held_out, pool, count=1, seed=0)[0].recall for pool in (samples, train))
    assert reached < real - 0.15


def test_training_digits_with_noise_of_one_level_are_copies(split):
    train = features.pixels(split.train_images)
    noisy = baselines.noisy(split.train_images, np.random.default_rng(0), std=1 / 8)  # N(0, 1) on the scale 0…16
    assert near_copies.rate(rounded(noisy), train) > 0.9


def test_the_held_out_digits_are_covered_and_rarely_copies(split):
    train, held_out = features.pixels(split.train_images), features.pixels(split.held_out_images)
    measured = precision_recall.measure(train, held_out)
    assert measured.precision > 0.8 and measured.recall > 0.8
    assert near_copies.rate(held_out, train) < 0.03
