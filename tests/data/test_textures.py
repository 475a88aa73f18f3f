"""Patches of photographs, and the regions that are held out."""

import numpy as np

from gendiff.data import textures
from tests.refusals import refusals


def covered(patches, label):
    """Whether a pixel of the picture lies in a patch."""
    mask = np.zeros(patches.pictures[label].shape[:2], bool)
    for row, column in patches.corners[patches.labels == label]:
        mask[row : row + patches.size, column : column + patches.size] = True
    return mask


def test_no_pixel_is_in_a_training_patch_and_in_a_held_out_one():
    train, held_out = textures.split(32, stride=32)
    for label in range(len(textures.CLASSES)):
        of_train, of_held_out = covered(train, label), covered(held_out, label)
        assert not (of_train & of_held_out).any()
        assert 0.5 < of_train.mean() and 0.1 < of_held_out.mean()


def test_patches_are_those_of_the_pictures_and_have_their_class():
    train, held_out = textures.split(32)
    assert train.classes == textures.CLASSES and len(train) > 2 * len(held_out) > 2000
    image, label = train[len(train) - 1]
    assert textures.CLASSES[label] == "tissue" and image.shape == (32, 32, 3) and image.dtype == np.uint8
    assert train.name(0).startswith("brick at ")
    assert (train[0].image == train[0].image[..., :1]).all(), "brick is grey"
    assert train.fingerprint != held_out.fingerprint


test_numbers_out_of_range_are_refused = refusals(
    (lambda: textures.split(4), "size"), (lambda: textures.split(32, stride=33), "stride")
)
