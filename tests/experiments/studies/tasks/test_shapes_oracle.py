"""Scenes are rendered with exact coverage, and the oracle reads them back."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from experiments.tasks import captions, rendering, shapes, shapes_oracle
from experiments.tasks.shapes_oracle import UNCLEAR
from gendiff.data import scaling
from tests.refusals import refusals
from tests.tables import table

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


@table("name", shapes.SHAPES)
def test_coverage_sums_to_the_area_of_the_shape_and_is_the_share_of_points_of_a_pixel_that_lie_inside(name):
    radius, centre = np.array([0.12, 0.185, 0.2]), np.array([[0.5, 0.5], [0.3171, 0.68], [0.21, 0.2]])
    share = rendering.coverage(shapes.SHAPES.index(name), radius, centre, np.arange(17) / 16)
    np.testing.assert_allclose(share.sum(axis=(1, 2)) / 16**2, AREAS[name] * radius**2, rtol=1e-12)
    share = rendering.coverage(shapes.SHAPES.index(name), np.array([0.33]), np.array([[0.47, 0.52]]), np.arange(9) / 8)[
        0
    ]
    middles = (np.arange(8 * 100) + 0.5) / 800
    inside = INSIDE[name]((middles[:, None] - 0.47) / 0.33, (middles - 0.52) / 0.33)
    np.testing.assert_allclose(share, inside.reshape(8, 100, 8, 100).mean(axis=(1, 3)), atol=0.011)


@table("factor", [2, 3])
def test_a_fine_render_averaged_is_the_coarse_render(scenes, factor):
    fine, coarse = rendering.render(scenes, 16 * factor), rendering.render(scenes, 16)
    np.testing.assert_allclose(fine.reshape(-1, 16, factor, 16, factor, 3).mean(axis=(2, 4)), coarse, atol=1e-6)


@table("size", [16, 17, 31, 64])
def test_images_hold_background_and_the_palette_within_its_range_whatever_their_batch(scenes, size):
    images = rendering.render(scenes, size)
    np.testing.assert_array_equal(
        rendering.render(shapes.Scenes(scenes.attributes[7:8], scenes.centres[7:8]), size)[0], images[7]
    )
    assert images.shape == (40, size, size, 3) and images.dtype == np.float32
    assert np.abs(images).max() <= np.float32(0.8)
    if size % 2:  # the pixels that two quarters share
        np.testing.assert_array_equal(images[:, size // 2], np.float32(rendering.BACKGROUND))
        np.testing.assert_array_equal(images[:, :, size // 2], np.float32(rendering.BACKGROUND))


def test_the_centre_of_a_large_object_has_its_colour_and_colours_are_told_apart_from_each_other_and_the_background(
    scenes,
):
    images = rendering.render(scenes, 64)
    rows, slots = np.nonzero((scenes.attributes[:, :, 2] == 1) & (scenes.attributes[:, :, 0] >= 0))
    down, right = np.floor(scenes.centres[rows, slots] * 64).astype(int).T
    np.testing.assert_allclose(
        images[rows, down, right], rendering.PALETTE[scenes.attributes[rows, slots, 0]], atol=1e-6
    )
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


# The oracle.

RECIPE = shapes.Recipe(held_out=(("red", "circle"),))


@pytest.fixture(scope="module")
def small():
    scenes = shapes.draw(shapes.Recipe(), 2, np.arange(200))
    return scenes, rendering.render(scenes, 16)


def noise(like, std, seed=0):
    return (std * np.random.default_rng(seed).standard_normal(like.shape)).astype(np.float32)


def share_right(images, scenes):
    return np.mean(np.all(shapes_oracle.read(images) == scenes.attributes, axis=(1, 2)))


def share_unclear(images):
    return np.mean(np.all(shapes_oracle.read(images.astype(np.float32)) == UNCLEAR, axis=(1, 2)))


@pytest.mark.parametrize(
    "counts", [((16, 200), (17, 40), (32, 50), (64, 10)), pytest.param(((16, 1000),), marks=pytest.mark.slow)]
)
def test_renders_of_held_out_combinations_are_read_also_with_the_noise_that_samplers_leave(counts):
    """Blur in pixels, noise on [-1, 1]."""
    for size, count in counts:
        scenes = shapes.draw(RECIPE, 1, np.arange(count), unseen=True)
        images = rendering.render(scenes, size)
        for blur, std in ((0.0, 0.0), (0.0, 0.05), (0.0, 0.1), (0.3, 0.05)):
            share = share_right(gaussian_filter(images, (0, blur, blur, 0)) + noise(images, std), scenes)
            assert share >= (0.999 if std else 1), (size, count, blur, std)


def test_every_single_object_is_read():
    attributes = np.full((256, 3, 4), shapes.ABSENT, dtype=np.int32)
    attributes[:, 0] = shapes.class_attributes(shapes.Recipe(), np.arange(256))
    scenes = shapes.Scenes(attributes, np.repeat(shapes.corner(attributes[:, 0, 3])[:, None] + 0.26, 3, axis=1))
    images = rendering.render(scenes, 16)
    np.testing.assert_array_equal(shapes_oracle.read(images), attributes)
    np.testing.assert_array_equal(shapes.labels(shapes.Recipe(), shapes_oracle.read(images)), np.arange(256))


def test_centres_are_found_to_a_hundredth_of_a_pixel_and_contrast_raised_as_guidance_does_is_still_read(small):
    scenes, images = small
    reading = shapes_oracle.inspect(images)
    rows, slots = np.nonzero(scenes.attributes[:, :, 0] >= 0)
    readings = reading.centres[rows, scenes.attributes[rows, slots, 3]]
    assert np.median(np.abs(readings - scenes.centres[rows, slots])) * 16 < 0.01
    assert np.all(np.isnan(reading.centres[reading.attributes[:, :, 0] < 0]))
    assert share_right(1.3 * images, scenes) == 1


def test_a_reading_does_not_depend_on_the_batch(small, monkeypatch):
    _, images = small
    noisy = images[:80] + noise(images[:80], 0.1)
    full = shapes_oracle.read(noisy)
    monkeypatch.setattr(shapes_oracle, "CHUNK", 64 * 70)
    np.testing.assert_array_equal(shapes_oracle.read(noisy), full)
    assert shapes_oracle.read(images[:0]).shape == (0, 3, 4)


def test_control_shuffled_scenes_agree_at_chance(small):
    scenes, images = small
    readings, other = shapes_oracle.read(images)[:, 0], np.roll(scenes.attributes[:, 0], 1, axis=0)
    for column, chance in zip(range(3), (1 / 8, 1 / 4, 1 / 2), strict=True):
        assert abs(np.mean(readings[:, column] == other[:, column]) - chance) < 4 * np.sqrt(chance * (1 - chance) / 200)
    assert np.mean(np.all(readings == other, axis=1)) < 0.05


@pytest.mark.parametrize("blurs", [(0, 4), pytest.param((1, 2), marks=pytest.mark.slow)])
def test_random_images_rough_and_smooth_are_unclear(blurs):
    for blur, size in itertools.product(blurs, (16, 32)):
        field = gaussian_filter(noise(np.empty((20, size, size, 3)), 1.0), (0, blur, blur, 0))
        for mean, std in itertools.product((0.0, rendering.BACKGROUND), (0.25, 1.0)):
            assert share_unclear(mean + std * field / field.std()) == 1, (blur, size, mean, std)


def test_what_is_not_a_scene_is_unclear(small):
    scenes, images = small
    one = images[scenes.attributes[:, 1, 0] < 0]
    # across two quarters
    across, broken = np.roll(one, 4, axis=1), np.where(np.arange(16)[:, None, None] == 3, np.nan, images)
    assert all(share_unclear(image) == 1 for image in (np.zeros_like(one), -images, across, broken))
    ghost = rendering.BACKGROUND + 0.5 * (one - rendering.BACKGROUND)  # small ones pass for noise, none for an object
    assert np.all(shapes_oracle.read(ghost) < 0)
    empty = np.full((20, 16, 16, 3), rendering.BACKGROUND, dtype=np.float32)
    assert np.all(shapes_oracle.read(empty + noise(empty, 0.1)) == shapes.ABSENT)  # even with noise no object


def test_a_fourth_object_is_unclear_but_each_quarter_is_inspected():
    full = np.array(
        [[[0, 0, 1, position] for position in range(3)], [[0, 0, 1, 3], [-1] * 4, [-1] * 4]], dtype=np.int32
    )
    centres = np.where(full[:, :, 3:] >= 0, shapes.corner(full[:, :, 3]) + 0.25, np.nan)
    parts = rendering.render(shapes.Scenes(full, centres), 32)
    four = parts.max(axis=0, keepdims=True) * (parts.max(axis=0) > -0.6) + parts.min(axis=0) * (
        parts.max(axis=0) <= -0.6
    )
    assert share_unclear(four) == 1
    assert np.all(shapes_oracle.inspect(four.astype(np.float32)).attributes[0, :, :3] == [0, 0, 1])


def test_half_a_circle_and_half_a_square_is_neither():
    scenes = shapes.draw(shapes.Recipe(objects=(1, 1), shapes=("circle",)), 0, np.arange(50))
    squares = scenes.attributes + np.where(scenes.attributes[:, :, :1] >= 0, [0, 1, 0, 0], 0).astype(np.int32)
    both = 0.5 * rendering.render(scenes, 32) + 0.5 * rendering.render(shapes.Scenes(squares, scenes.centres), 32)
    assert share_unclear(both) == 1


def test_one_broken_object_spoils_the_image_but_not_its_neighbour():
    scenes = shapes.Scenes(
        np.array([[[0, 0, 1, 0], [1, 1, 1, 3], [-1] * 4]], dtype=np.int32), np.full((1, 3, 2), np.nan)
    )
    scenes.centres[0, :2] = [[0.25, 0.25], [0.75, 0.75]]
    images = rendering.render(scenes, 32)
    images[:, 24:, 16:] = rendering.BACKGROUND  # the lower half of the square is gone
    assert np.all(shapes_oracle.read(images) == UNCLEAR)
    np.testing.assert_array_equal(shapes_oracle.inspect(images).attributes[0, [0, 3]], [[0, 0, 1, 0], [UNCLEAR] * 4])


SHAPES = [(2, 16, 17, 3), (2, 16, 16, 1), (16, 16, 3), (3,), ()]
test_sizes_and_images_of_another_kind_are_refused = refusals(
    (lambda: rendering.render(shapes.draw(shapes.Recipe(), 0, np.arange(1)), 8), "size = 8: .* use size >= 16"),
    (lambda: rendering.check_size(16.0), "size must be an integer", TypeError),
    *(
        (lambda shape=shape: shapes_oracle.read(np.zeros(shape, np.float32)), r"must be square, \(b, size, size, 3\)")
        for shape in SHAPES
    ),
    (lambda: shapes_oracle.read(np.zeros((2, 8, 8, 3), np.float32)), "use size >= 16"),
    (lambda: shapes_oracle.read(np.zeros((2, 16, 16, 3), np.uint8)), "must be a floating array", TypeError),
)
