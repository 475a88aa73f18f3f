import numpy as np
import pytest

from gendiff.data import captions, rendering, scaling, shapes
from tests.refusals import refusals

AREAS = {"circle": np.pi, "square": 4.0, "triangle": 2.0, "cross": 20 / 9}
INSIDE = {
    "circle": lambda y, x: y**2 + x**2 < 1,
    "square": lambda y, x: np.maximum(abs(y), abs(x)) < 1,
    "triangle": lambda y, x: (abs(x) < (y + 1) / 2) & (y < 1),
    "cross": lambda y, x: (np.minimum(abs(y), abs(x)) < 1 / 3) & (np.maximum(abs(y), abs(x)) < 1),
}


@pytest.fixture(scope="module")
def scenes():
    return shapes.draw(shapes.Recipe(), 0, np.arange(40))


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_coverage_sums_to_the_area_of_the_shape_and_is_the_share_of_points_of_a_pixel_that_lie_inside(name):
    radius, centre = np.array([0.12, 0.185, 0.2]), np.array([[0.5, 0.5], [0.3171, 0.68], [0.21, 0.2]])
    share = rendering.coverage(shapes.SHAPES.index(name), radius, centre, np.arange(17) / 16)
    np.testing.assert_allclose(share.sum(axis=(1, 2)) / 16**2, AREAS[name] * radius**2, rtol=1e-12)
    share = rendering.coverage(shapes.SHAPES.index(name), np.array([0.33]), np.array([[0.47, 0.52]]), np.arange(9) / 8)[0]
    middles = (np.arange(8 * 100) + 0.5) / 800
    inside = INSIDE[name]((middles[:, None] - 0.47) / 0.33, (middles - 0.52) / 0.33)
    np.testing.assert_allclose(share, inside.reshape(8, 100, 8, 100).mean(axis=(1, 3)), atol=0.011)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_fine_render_averaged_is_the_coarse_render(scenes, factor):
    fine, coarse = rendering.render(scenes, 16 * factor), rendering.render(scenes, 16)
    np.testing.assert_allclose(fine.reshape(-1, 16, factor, 16, factor, 3).mean(axis=(2, 4)), coarse, atol=1e-6)


@pytest.mark.parametrize("size", [16, 17, 31, 64])
def test_images_hold_background_and_the_palette_within_its_range_whatever_their_batch(scenes, size):
    images = rendering.render(scenes, size)
    np.testing.assert_array_equal(rendering.render(shapes.Scenes(scenes.attributes[7:8], scenes.centres[7:8]), size)[0], images[7])
    assert images.shape == (40, size, size, 3) and images.dtype == np.float32
    assert np.abs(images).max() <= np.float32(0.8)
    if size % 2:  # the pixels that two quarters share
        np.testing.assert_array_equal(images[:, size // 2], np.float32(rendering.BACKGROUND))
        np.testing.assert_array_equal(images[:, :, size // 2], np.float32(rendering.BACKGROUND))


def test_the_centre_of_a_large_object_has_its_colour(scenes):
    images = rendering.render(scenes, 64)
    large = (scenes.attributes[:, :, 2] == 1) & (scenes.attributes[:, :, 0] >= 0)
    rows, slots = np.nonzero(large)
    down, right = np.floor(scenes.centres[rows, slots] * 64).astype(int).T
    np.testing.assert_allclose(images[rows, down, right], rendering.PALETTE[scenes.attributes[rows, slots, 0]], atol=1e-6)


def test_colours_are_told_apart_from_each_other_and_from_the_background():
    contrast = rendering.PALETTE - rendering.BACKGROUND
    unit = contrast / np.linalg.norm(contrast, axis=1, keepdims=True)
    angles = np.rad2deg(np.arccos(np.clip(unit @ unit.T, -1, 1)))[~np.eye(8, dtype=bool)]
    assert angles.min() > 25 and np.linalg.norm(contrast, axis=1).min() > 1.4


def test_labelled_images_lie_on_256_levels_and_their_classes_are_words():
    recipe = shapes.Recipe(objects=(1, 1), colours=("red", "blue"), classes_by=("colour", "shape"))
    data = rendering.labelled_images(recipe, 16, 3, np.arange(50))
    scenes = shapes.draw(recipe, 3, np.arange(50))
    np.testing.assert_array_equal(scaling.round_to_levels(data.clean, data.levels), data.clean)
    np.testing.assert_allclose(data.clean, rendering.render(scenes, 16), atol=1 / 255 + 1e-6)
    assert data.classes[:2] == ("a red circle", "a red square") and len(data.classes) == recipe.num_classes == 8
    for label, caption in zip(data.labels, captions.write(scenes.attributes), strict=True):
        assert data.classes[label].removeprefix("a ") in caption


test_a_size_below_16_is_refused = refusals(
    (lambda: rendering.render(shapes.draw(shapes.Recipe(), 0, np.arange(1)), 8), "size = 8: .* use size >= 16"),
    (lambda: rendering.check_size(16.0), "size must be an integer", TypeError),
)
