import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gendiff.data import digits, scaling


@pytest.fixture(scope="module")
def split():
    return digits.load()


def test_sizes_and_types_are_stated_and_every_image_lies_on_the_17_levels_and_uses_them_all(split):
    assert split.train_images.shape == (1347, 8, 8, 1) and split.held_out_images.shape == (450, 8, 8, 1)
    for images, labels in ((split.train_images, split.train_labels), (split.held_out_images, split.held_out_labels)):
        assert images.dtype == np.float32 and labels.dtype == np.int32 and len(images) == len(labels)
        assert images.min() == -1 and images.max() == 1
        np.testing.assert_array_equal(scaling.round_to_levels(images, digits.LEVELS), images)
        np.testing.assert_array_equal(np.unique(scaling.from_unit(images, digits.LEVELS)), np.arange(17))


def test_each_class_is_held_out_in_its_share(split):
    train, held_out = np.bincount(split.train_labels), np.bincount(split.held_out_labels)
    assert len(train) == len(held_out) == digits.CLASSES
    assert np.abs(held_out - (train + held_out) * 450 / 1797).max() < 1


def test_no_image_is_on_both_sides_together_they_are_the_1797_real_ones_and_the_split_is_frozen(split):
    real = ((load_digits().data - 8) / 8).astype(np.float32)
    train, held_out, real = ({row.tobytes() for row in rows} for rows in (split.train_images, split.held_out_images, real))
    assert not train & held_out and train | held_out == real
    digest = hashlib.sha256(split.held_out_images.tobytes() + split.held_out_labels.tobytes()).hexdigest()
    assert digest == "5a6439520585c821b33c3e58b76362738c9eccc1ae414c9ac9f15eacdb47aa2b"
