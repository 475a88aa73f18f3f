import colorsys

import numpy as np
import pytest

from gendiff.metrics import saturation


def images(seed=0, shape=(3, 4, 5, 3)):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def test_the_clipped_fraction_counts_values_at_and_beyond_the_ends_of_each_image():
    given = np.array([[-1.0, 0.0, 0.5, 1.0], [-3.0, 2.0, 1.0, -1.0], [0.0, 0.99, -0.99, 0.1]])
    np.testing.assert_array_equal(saturation.clipped_fraction(given), [0.5, 1.0, 0.0])
    np.testing.assert_array_equal(saturation.clipped_fraction(given, margin=0.02), [0.5, 1.0, 0.5])
    np.testing.assert_array_equal(saturation.clipped_fraction(255 * (given + 1) / 2, low=0, high=255), [0.5, 1.0, 0.0])


def test_contrast_is_zero_for_a_flat_image_a_half_for_black_and_white_and_does_not_depend_on_the_unit():
    flat, halves = np.full((2, 4, 4, 1), 0.3), np.ones((1, 4, 4, 3))
    halves[:, :2] = -1
    np.testing.assert_allclose(saturation.rms_contrast(flat), 0, atol=1e-15)
    np.testing.assert_allclose(saturation.rms_contrast(halves), 0.5, rtol=1e-12)
    grey = images(shape=(2, 4, 4, 1))
    np.testing.assert_allclose(saturation.rms_contrast(grey), grey.reshape(2, -1).std(axis=1) / 2, rtol=1e-12)
    np.testing.assert_allclose(saturation.rms_contrast(np.repeat(grey, 3, axis=3)), saturation.rms_contrast(grey), rtol=1e-12)
    np.testing.assert_allclose(saturation.rms_contrast((grey + 1) / 2, low=0), saturation.rms_contrast(grey), rtol=1e-12)


def test_saturation_is_that_of_the_standard_librarys_hsv():
    given = images()
    expected = [np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in (image.reshape(-1, 3) + 1) / 2]) for image in given]
    np.testing.assert_allclose(saturation.mean_saturation(given), expected, rtol=1e-12)


def test_grey_and_black_have_no_saturation_and_pure_colours_have_all_also_beyond_the_range():
    grey, black, red = np.full((1, 2, 2, 3), 0.2), np.full((1, 2, 2, 3), -1.0), np.full((1, 2, 2, 3), -2.0)
    red[..., 0] = 3.0
    np.testing.assert_array_equal(saturation.mean_saturation(np.concatenate([grey, black, red])), [0, 0, 1])


def test_an_image_does_not_know_its_neighbours():
    given = images()
    for measure in (saturation.clipped_fraction, saturation.rms_contrast, saturation.mean_saturation):
        np.testing.assert_array_equal(measure(given)[1:2], measure(given[1:2]))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: saturation.mean_saturation(images(shape=(2, 4, 4, 1))), r"\(n, h, w, c\) with 3 channels, got shape \(2, 4, 4, 1\)"),
        (lambda: saturation.rms_contrast(images(shape=(2, 4, 4, 2))), "1 or 3 channels"),
        (lambda: saturation.clipped_fraction(images(), low=1.0), "low < high"),
        (lambda: saturation.clipped_fraction(images(), margin=1.0), "margin = 1 is outside"),
        (lambda: saturation.clipped_fraction(np.full((2, 3), np.nan)), "NaN"),
    ],
)
def test_other_channels_ranges_and_values_are_refused(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()
