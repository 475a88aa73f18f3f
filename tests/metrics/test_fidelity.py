"""Measures of single images: likeness to a truth, and what guidance spoils."""

import colorsys

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gendiff.metrics import fidelity, saturation
from tests.metrics.rows import uniform
from tests.refusals import refusals
from tests.tables import table


def images(seed=0):
    return uniform(seed, 2, 13, 12, 3)


def test_psnr_is_scikit_images_and_infinite_for_equal_images():
    x, y = images(0), images(1)
    for low, high in ((-1, 1), (0, 1)):
        expected = [peak_signal_noise_ratio(a, b, data_range=high - low) for a, b in zip(x, y, strict=True)]
        np.testing.assert_allclose(fidelity.psnr(y, x, low=low, high=high), expected, rtol=1e-12)
    assert np.all(np.isinf(fidelity.psnr(x, x)))


@table("window, std", [(11, 1.5), (9, 1.0), (5, 0.7)])
def test_ssim_is_scikit_images_where_it_has_that_window(window, std):
    x, y = images(0), images(0) + 0.3 * images(1)
    options = {"gaussian_weights": True, "sigma": std, "use_sample_covariance": False, "channel_axis": -1}
    for scale in (1.0, 255.0):
        a, b = scale * (x + 1) / 2, scale * (y + 1) / 2
        expected = [structural_similarity(p, q, data_range=scale, **options) for p, q in zip(a, b, strict=True)]
        np.testing.assert_allclose(fidelity.ssim(a, b, low=0, high=scale, window=window, std=std), expected, rtol=1e-10)


@table("window, std", [(7, 1.5), (3, 2.0)])
def test_ssim_of_an_image_as_wide_as_the_window_is_the_formula_written_out(window, std):
    x, y = uniform(0, 1, window, window, 1), uniform(1, 1, window, window, 1)
    offsets = np.arange(window) - window // 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * std**2)).ravel()
    pair = np.stack([(x.ravel() + 1) / 2, (y.ravel() + 1) / 2])
    (mean_a, mean_b), moments = np.average(pair, axis=1, weights=weights), np.cov(pair, aweights=weights, ddof=0)
    c1, c2 = 0.01**2, 0.03**2
    expected = (
        (2 * mean_a * mean_b + c1)
        * (2 * moments[0, 1] + c2)
        / ((mean_a**2 + mean_b**2 + c1) * (np.trace(moments) + c2))
    )
    np.testing.assert_allclose(fidelity.ssim(x, y, window=window, std=std), expected, rtol=1e-10)


def test_the_clipped_fraction_counts_values_at_and_beyond_the_ends_of_each_image():
    values = np.array([[-1.0, 0.0, 0.5, 1.0], [-3.0, 2.0, 1.0, -1.0], [0.0, 0.99, -0.99, 0.1]])
    np.testing.assert_array_equal(saturation.clipped_fraction(values), [0.5, 1.0, 0.0])
    np.testing.assert_array_equal(saturation.clipped_fraction(values, margin=0.02), [0.5, 1.0, 0.5])
    np.testing.assert_array_equal(saturation.clipped_fraction(255 * (values + 1) / 2, low=0, high=255), [0.5, 1.0, 0.0])


def test_contrast_is_zero_for_a_flat_image_a_half_for_black_and_white_and_does_not_depend_on_the_unit():
    halves = np.ones((1, 4, 4, 3))
    halves[:, :2] = -1
    grey = uniform(0, 2, 4, 4, 1)
    deviation = grey.reshape(2, -1).std(axis=1) / 2
    np.testing.assert_allclose(saturation.rms_contrast(np.full((2, 4, 4, 1), 0.3)), 0, atol=1e-15)
    np.testing.assert_allclose(saturation.rms_contrast(halves), 0.5, rtol=1e-12)
    for values, low in ((grey, -1), (np.repeat(grey, 3, axis=3), -1), ((grey + 1) / 2, 0)):
        np.testing.assert_allclose(saturation.rms_contrast(values, low=low), deviation, rtol=1e-12)


def test_saturation_is_that_of_the_standard_librarys_hsv_none_for_grey_and_all_for_pure_colours_beyond_the_range():
    expected = [
        np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in (image.reshape(-1, 3) + 1) / 2]) for image in images()
    ]
    np.testing.assert_allclose(saturation.mean_saturation(images()), expected, rtol=1e-12)
    colours = np.array([[0.2, 0.2, 0.2], [-1.0, -1.0, -1.0], [3.0, -2.0, -2.0]])[:, None, None] * np.ones((1, 2, 2, 1))
    np.testing.assert_array_equal(saturation.mean_saturation(colours), [0, 0, 1])


def test_an_image_does_not_know_its_neighbours():
    x, y = images(0), images(1)
    for measure in (fidelity.psnr, fidelity.ssim):
        np.testing.assert_array_equal(measure(x, y)[1:], measure(x[1:], y[1:]))
    for measure in (saturation.clipped_fraction, saturation.rms_contrast, saturation.mean_saturation):
        np.testing.assert_array_equal(measure(x)[1:], measure(x[1:]))


test_mistakes_are_refused_with_the_fix = refusals(
    (
        lambda: fidelity.ssim(images()[:, :8, :9], images()[:, :8, :9]),
        "8×9 are smaller than the window of 11: pass window=7 or less",
    ),
    (lambda: fidelity.ssim(images(), images(), window=8), "window = 8 must be odd"),
    (lambda: fidelity.ssim(images()[..., 0], images()[..., 0]), r"\(n, h, w, c\)"),
    (lambda: fidelity.psnr(images(), images()[:1]), "images has shape .* but truth has shape"),
    (lambda: fidelity.psnr(images(), images(), low=1.0), "low < high"),
    (lambda: fidelity.psnr(images(), images() * [[[[1]]], [[[np.nan]]]]), "truth: 1 of 2 rows hold NaN"),
    (
        lambda: saturation.mean_saturation(uniform(0, 2, 4, 4, 1)),
        r"\(n, h, w, c\) with 3 channels, got shape \(2, 4, 4, 1\)",
    ),
    (lambda: saturation.rms_contrast(uniform(0, 2, 4, 4, 2)), "1 or 3 channels"),
    (lambda: saturation.clipped_fraction(images(), low=1.0), "low < high"),
    (lambda: saturation.clipped_fraction(images(), margin=1.0), "margin = 1 is outside"),
    (lambda: saturation.clipped_fraction(np.full((2, 3), np.nan)), "NaN"),
)
