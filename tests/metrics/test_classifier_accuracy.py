import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gendiff.metrics import classifier_accuracy
from tests.metrics.rows import rng


@pytest.fixture(scope="module")
def real():
    """Images and labels to train with, and those held out."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 8 - 1).reshape(-1, 8, 8, 1).astype(np.float32)
    train, held_out, train_labels, held_out_labels = train_test_split(images, labels, test_size=450, stratify=labels, random_state=0)
    return train, train_labels, held_out, held_out_labels


@pytest.fixture(scope="module")
def trained(real):
    return classifier_accuracy.train(*real[:2])


def test_held_out_digits_are_known_wrong_labels_score_as_chance_and_accuracy_is_the_mean_of_correct(real, trained):
    _, _, images, labels = real
    rows = classifier_accuracy.correct(trained, images, labels)
    assert rows.shape == (450,) and rows.dtype == bool
    assert classifier_accuracy.measure(trained, images, labels) == rows.mean() >= 0.98
    assert classifier_accuracy.measure(trained, images, rng().permutation(labels)) < 0.2
    assert classifier_accuracy.measure(trained, images[:1], labels[:1]) in (0.0, 1.0)


def test_training_twice_gives_the_same_judge(real, trained):
    noise, again = rng().uniform(-1, 1, (200, 8, 8, 1)), classifier_accuracy.train(*real[:2])
    one, other = (classifier_accuracy.correct(judge, noise, np.arange(200) % 10) for judge in (again, trained))
    np.testing.assert_array_equal(one, other)


def test_bad_images_and_labels_are_refused_with_counts(real, trained):
    images, labels = real[2][:5], real[3][:5]
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
