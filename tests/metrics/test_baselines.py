"""Null controls have the law that they state, and on the real digits they fail what real against real passes; the judge
of classes.
"""

import numpy as np
import pytest

from experiments.tasks import stacked_digits
from gendiff.data import digits, scaling
from gendiff.metrics import baselines, classifier_accuracy, features, frechet, near_copies, precision_recall
from tests.metrics.rows import normal, rng
from tests.refusals import refusals
from tests.tables import table

LABELS = np.repeat(np.arange(3), 40)
FEW = np.concatenate([LABELS[:-5], np.full(5, 3)])


def images():
    """Three classes of 2×2 images, far apart, each flat in one direction."""
    x = normal(0, 120, 2, 2, 1) + 50.0 * LABELS[:, None, None, None]
    x[:, 1, 1] = x[:, 0, 0]
    return x.astype(np.float32)


@table("control", [baselines.gaussian_per_class, baselines.smote])
def test_each_sample_is_of_its_wanted_class_and_the_generator_alone_decides(control):
    classes = np.array([2, 0, 0, 1, 2, 2])
    samples, again, other = (control(images(), LABELS, rng(seed), classes) for seed in (0, 0, 1))
    assert samples.shape == (6, 2, 2, 1) and samples.dtype == np.float32
    np.testing.assert_array_equal(np.round(samples.mean(axis=(1, 2, 3)) / 50), classes)
    np.testing.assert_array_equal(again, samples)
    assert not np.array_equal(other, samples)


def test_the_gaussian_has_the_mean_and_covariance_of_its_class_also_of_deficient_rank():
    samples = baselines.gaussian_per_class(images(), LABELS, rng(), np.ones(20000, int)).reshape(20000, 4)
    members = images()[LABELS == 1].reshape(40, 4)
    np.testing.assert_allclose(samples.mean(axis=0), members.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(samples.T), np.cov(members.T), atol=0.06)
    np.testing.assert_allclose(samples[:, 3], samples[:, 0], atol=1e-5)
    two = baselines.gaussian_per_class(images()[39:41], np.zeros(2, int), rng(), np.zeros(50, int)).reshape(50, 4)
    assert np.linalg.matrix_rank(two - two.mean(axis=0), tol=1e-3) == 1


def test_smote_lies_between_an_image_and_one_of_its_nearest_of_the_class_and_uses_all_of_them():
    line = np.array([0.0, 1.0, 10.0, 11.0, 100.0, 101.0]).reshape(6, 1)
    samples = baselines.smote(line, np.zeros(6, int), rng(), np.zeros(500, int), neighbours=1)[:, 0]
    assert np.isin(np.floor(samples), [0, 10, 100]).all()
    assert np.histogram(samples % 1, bins=4, range=(0, 1))[0].min() > 80
    triangle = baselines.smote(np.eye(3), np.zeros(3, int), rng(), np.zeros(600, int), neighbours=2)
    np.testing.assert_allclose(triangle.sum(axis=1), 1, rtol=1e-6)
    assert np.bincount(np.argmin(triangle, axis=1), minlength=3).min() > 150  # the edges
    members = images()[LABELS == 0].reshape(40, 4)
    samples = baselines.smote(images(), LABELS, rng(), np.zeros(300, int)).reshape(300, 4)
    assert (samples >= members.min(axis=0)).all() and (samples <= members.max(axis=0)).all()


def test_noise_has_its_standard_deviation_and_none_changes_nothing():
    assert baselines.noisy(np.zeros((100, 8, 8, 1), np.float32), rng(), 0.5).std() == pytest.approx(0.5, rel=0.03)
    np.testing.assert_array_equal(baselines.noisy(images(), rng(), 0.0), images())


test_bad_images_and_labels_are_refused_with_counts = refusals(
    (lambda: baselines.smote(images(), FEW, rng(), np.array([3])), "class 3 has 5 images, at least 6 are needed"),
    (
        lambda: baselines.gaussian_per_class(images(), LABELS, rng(), np.array([7])),
        "class 7 has 0 images, at least 2 are needed",
    ),
    (
        lambda: baselines.gaussian_per_class(images(), LABELS, rng(), np.array([1.0])),
        "wanted_labels must be whole numbers",
    ),
    (
        lambda: baselines.gaussian_per_class(images(), LABELS[1:], rng(), np.array([1])),
        r"labels has shape \(119,\), but 120 rows need",
    ),
    (lambda: baselines.smote(images(), LABELS, rng(), np.array([1]), neighbours=0), "neighbours = 0"),
    *((lambda std=std: baselines.noisy(images(), rng(), std), "std = ") for std in (-1.0, float("nan"), float("inf"))),
)


# On the digits.


@pytest.fixture(scope="module")
def split():
    return digits.load()


@pytest.fixture(scope="module")
def pools(split):
    """Features of the two real parts."""
    return features.pixels(split.train_images), features.pixels(split.held_out_images)


def rounded(images):
    return features.pixels(scaling.round_to_levels(images, digits.LEVELS))


def control(split, baseline):
    return rounded(baseline(split.train_images, split.train_labels, rng(), np.repeat(np.arange(10), 150)))


def test_a_gaussian_for_each_class_is_further_than_the_floor_allows(split, pools):
    train, held_out = pools
    samples = control(split, baselines.gaussian_per_class)
    floor, distance = (frechet.over_subsets(held_out, rows, count=4, seed=0).mean() for rows in (train, samples))
    assert distance > 1.75 * floor


def test_smote_is_known_by_its_copies_and_by_what_it_does_not_reach(split, pools):
    train, held_out = pools
    samples = control(split, baselines.smote)
    assert near_copies.rate(samples, train) > near_copies.rate(held_out, train) + 0.5
    reached, real = (
        precision_recall.over_subsets(held_out, pool, count=1, seed=0)[0].recall for pool in (samples, train)
    )
    assert reached < real - 0.15


def test_digits_with_noise_of_one_level_are_copies_and_held_out_ones_are_covered_and_rarely_copies(split, pools):
    train, held_out = pools
    noisy = baselines.noisy(split.train_images, rng(), std=1 / 8)  # N(0, 1) on the scale 0…16
    assert near_copies.rate(rounded(noisy), train) > 0.9
    measured = precision_recall.measure(train, held_out)
    assert measured.precision > 0.8 and measured.recall > 0.8
    assert near_copies.rate(held_out, train) < 0.03


@pytest.fixture(scope="module")
def trained(split):
    return classifier_accuracy.train(split.train_images, split.train_labels)


def test_held_out_digits_are_known_wrong_labels_score_as_chance_and_accuracy_is_the_mean_of_correct(split, trained):
    images, labels = split.held_out_images, split.held_out_labels
    rows = classifier_accuracy.correct(trained, images, labels)
    assert rows.shape == (450,) and rows.dtype == bool
    assert classifier_accuracy.measure(trained, images, labels) == rows.mean() >= 0.98
    assert classifier_accuracy.measure(trained, images, rng().permutation(labels)) < 0.2
    assert classifier_accuracy.measure(trained, images[:1], labels[:1]) in (0.0, 1.0)
    np.testing.assert_array_equal(classifier_accuracy.predict(trained, images) == labels, rows)


def test_the_judge_reads_the_modes_of_stacked_held_out_digits(split, trained):
    batch = stacked_digits.batch_at(split.held_out_images, split.held_out_labels, 200, 0, 0)
    digits = classifier_accuracy.predict(trained, stacked_digits.channels(batch.clean))
    assert np.mean(stacked_digits.mode_of(digits.reshape(-1, 3)) == batch.labels) > 0.95


def test_training_twice_gives_the_same_judge(split, trained):
    noise, again = (
        rng().uniform(-1, 1, (200, 8, 8, 1)),
        classifier_accuracy.train(split.train_images, split.train_labels),
    )
    one, other = (classifier_accuracy.correct(judge, noise, np.arange(200) % 10) for judge in (again, trained))
    np.testing.assert_array_equal(one, other)


def test_the_judge_refuses_bad_images_and_labels_with_counts(split, trained):
    images, labels = split.held_out_images[:5], split.held_out_labels[:5]
    for bad_images, bad_labels, message in (
        (images[:, :7], labels, r"images have shape \(7, 8, 1\), but the judge was trained on \(8, 8, 1\)"),
        (images, labels * 1.0, "labels must be whole numbers.*float64"),
        (images, labels[:4], r"labels has shape \(4,\), but 5 rows need \(5,\)"),
        (images, labels * 0 + 10, "label 10 is none of the 10 classes"),
        (images * np.nan, labels, "images: 5 of 5 rows hold NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier_accuracy.measure(trained, bad_images, bad_labels)
    with pytest.raises(ValueError, match="at least 2 classes, all 5 labels are 3"):
        classifier_accuracy.train(images, labels * 0 + 3)
    with pytest.raises(ValueError, match="at least 2 rows"):
        classifier_accuracy.train(images[:1], labels[:1])
