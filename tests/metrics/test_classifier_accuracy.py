import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gendiff.metrics import classifier_accuracy


@pytest.fixture(scope="module")
def real():
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 8 - 1).reshape(-1, 8, 8, 1).astype(np.float32)
    parts = train_test_split(images, labels, test_size=450, stratify=labels, random_state=0)
    return dict(zip(("train", "held_out", "train_labels", "held_out_labels"), parts, strict=True))


@pytest.fixture(scope="module")
def trained(real):
    return classifier_accuracy.train(real["train"], real["train_labels"])


def test_it_knows_held_out_digits_with_accuracy_of_at_least_98_percent(real, trained):
    assert classifier_accuracy.measure(trained, real["held_out"], real["held_out_labels"]) >= 0.98


def test_wrong_labels_score_what_chance_scores(real, trained):
    shuffled = np.random.default_rng(0).permutation(real["held_out_labels"])
    assert classifier_accuracy.measure(trained, real["held_out"], shuffled) < 0.2


def test_training_twice_gives_the_same_judge(real, trained):
    noise = np.random.default_rng(0).uniform(-1, 1, (200, 8, 8, 1))
    labels = np.arange(200) % 10
    again = classifier_accuracy.train(real["train"], real["train_labels"])
    np.testing.assert_array_equal(classifier_accuracy.correct(again, noise, labels), classifier_accuracy.correct(trained, noise, labels))


def test_accuracy_is_the_mean_of_correct_and_one_image_is_enough(real, trained):
    rows = classifier_accuracy.correct(trained, real["held_out"], real["held_out_labels"])
    assert rows.shape == (450,) and rows.dtype == bool
    assert classifier_accuracy.measure(trained, real["held_out"], real["held_out_labels"]) == rows.mean()
    assert classifier_accuracy.measure(trained, real["held_out"][:1], real["held_out_labels"][:1]) in (0.0, 1.0)


def test_bad_images_and_labels_are_refused_with_counts(real, trained):
    images, labels = real["held_out"][:5], real["held_out_labels"][:5]
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
