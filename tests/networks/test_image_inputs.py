import numpy as np
import pytest

from gendiff.networks import image_inputs

T = np.zeros(3, np.float32)


@pytest.mark.parametrize("shape", [(3, 8, 4, 1), (3, 12, 12, 3), (3, 4, 4, 64)])
def test_images_whose_sides_the_factor_divides_pass(shape: tuple[int, ...]):
    image_inputs.check(np.zeros(shape, np.float32), T, 4, "patch")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 7, 8, 1), r"\(3, 7, 8, 1\), read as \(batch, height, width, channels\): height and width must be multiples of 4 \(patch\)$"),
        ((3, 8, 9, 1), r"multiples of 4 \(patch\)$"),
        ((3, 1, 8, 8), "channels-first: use numpy.moveaxis"),
        ((3, 4, 32, 32), "channels-first"),
        ((3, 8, 8), r"images are \(batch, height, width, channels\)"),
    ],
)
def test_other_shapes_are_refused_with_the_rule(shape: tuple[int, ...], message: str):
    with pytest.raises(ValueError, match=message):
        image_inputs.check(np.zeros(shape, np.float32), T, 4, "patch")


def test_whole_numbers_and_times_that_are_not_one_per_sample_are_refused():
    with pytest.raises(TypeError, match="floating"):
        image_inputs.check(np.zeros((3, 8, 8, 1), np.uint8), T, 4, "patch")
    for t in (T[:2], T[0], T[:, None]):
        with pytest.raises(ValueError, match=r"one time per sample, \(3,\), is needed"):
            image_inputs.check(np.zeros((3, 8, 8, 1), np.float32), t, 4, "patch")
