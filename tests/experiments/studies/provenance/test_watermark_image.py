"""What the image-watermark experiment does to pictures, and how it compares sets."""

import numpy as np

from experiments.provenance.watermark_image import changes, measures
from experiments.provenance.watermark_image.config import SHAPE, SIDE, Config
from tests.tables import table

CONFIG = Config()
PICTURES = changes.stored(np.random.default_rng(0).uniform(-1, 1, (20, *SHAPE)))


@table("name", changes.changes(CONFIG))
def test_a_changed_picture_is_again_one_of_eight_bits(name):
    changed = changes.changes(CONFIG)[name](PICTURES)
    side = {"crop 0.75": 28, "crop 0.5": 22}.get(name, SIDE)
    assert changed.shape == (len(PICTURES), side, side, 1) and changed.dtype == np.float32
    np.testing.assert_array_equal(changes.stored(changed), changed)
    assert np.array_equal(changed, PICTURES) == (name == changes.UNCHANGED)


def test_changes_of_a_kind_grow_and_what_is_claimed_is_the_mildest():
    changed = {name: change(PICTURES) for name, change in changes.changes(CONFIG).items()}
    # what is cut out stays as it was
    error = {
        name: PICTURES.size - images.size if "crop" in name else np.mean((images - PICTURES) ** 2)
        for name, images in changed.items()
    }
    for kind in ("noise", "blur", "crop", "JPEG"):
        of_kind = [value for name, value in error.items() if name.startswith(kind)]
        assert of_kind == sorted(of_kind)
    assert set(changes.mildest(CONFIG)) <= set(error)


def test_the_permutation_test_of_sets_sees_another_law_and_not_the_same_one():
    draw = np.random.default_rng(1)
    first, second = draw.standard_normal((2, 80, *SHAPE))
    assert measures.permuted([(first, second)], 19)[1] > 0.05
    assert measures.permuted([(first, second + 0.5)], 19)[1] == 0.05


def test_signs_that_a_set_has_in_common_are_found():
    noise = np.random.default_rng(2).standard_normal((200, *SHAPE))
    assert measures.signs(noise) > 0.01 and measures.normal(noise) > 0.01
    assert measures.signs(np.abs(noise) * np.sign(noise[:1])) < 1e-100
