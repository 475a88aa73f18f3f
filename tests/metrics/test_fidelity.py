import numpy as np
import pytest

from gendiff.metrics import fidelity


def images(seed=0, shape=(2, 13, 12, 3)):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def by_hand(x, y, data_range=1.0, window=11, std=1.5):
    """One channel (h, w) >= 0: Wang et al.'s formula at every place, from weighted deviations."""
    place = np.arange(window) - window // 2
    weights = np.exp(-(place[:, None] ** 2 + place[None, :] ** 2) / (2 * std**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            mean_a, mean_b = np.sum(weights * a), np.sum(weights * b)
            var_a, var_b = np.sum(weights * (a - mean_a) ** 2), np.sum(weights * (b - mean_b) ** 2)
            both = np.sum(weights * (a - mean_a) * (b - mean_b))
            found.append((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return np.mean(found)


def test_psnr_of_a_constant_offset_is_closed_form_and_infinite_for_equal_images():
    truth = images()
    offsets = np.array([0.02, 0.2]).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(fidelity.psnr(truth + offsets, truth), [40, 20], rtol=1e-9)
    np.testing.assert_allclose(fidelity.psnr(truth + offsets, truth, low=0, high=1), [40 - 20 * np.log10(2), 20 - 20 * np.log10(2)])
    assert np.all(np.isinf(fidelity.psnr(truth, truth)))


@pytest.mark.parametrize(("window", "std"), [(11, 1.5), (7, 1.5), (3, 0.7)])
def test_ssim_is_the_formula_written_out(window, std):
    x, y = images(0), images(0) + 0.3 * images(1)
    a, b = (x + 1) / 2, (y + 1) / 2
    expected = [np.mean([by_hand(a[n, ..., c], b[n, ..., c], 1.0, window, std) for c in range(3)]) for n in range(2)]
    np.testing.assert_allclose(fidelity.ssim(x, y, window=window, std=std), expected, rtol=1e-10)
    bytes_a, bytes_b = 255 * a, 255 * b
    found = fidelity.ssim(bytes_a, bytes_b, low=0, high=255, window=window, std=std)
    wanted = [np.mean([by_hand(bytes_a[n, ..., c], bytes_b[n, ..., c], 255.0, window, std) for c in range(3)]) for n in range(2)]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_ssim_of_equal_images_is_one_and_symmetric_and_of_flat_ones_closed_form():
    x, y = images(0), images(1)
    np.testing.assert_allclose(fidelity.ssim(x, x), 1, rtol=1e-12)
    np.testing.assert_allclose(fidelity.ssim(x, y), fidelity.ssim(y, x), rtol=1e-12)
    one, two = np.full((1, 11, 11, 1), 0.5), np.full((1, 11, 11, 1), -0.2)
    c1 = 0.01**2
    np.testing.assert_allclose(fidelity.ssim(one, two), (2 * 0.75 * 0.4 + c1) / (0.75**2 + 0.4**2 + c1), rtol=1e-10)


def test_the_unit_enters_by_the_range_alone_and_an_image_does_not_know_its_neighbours():
    x, y = images(0), images(1)
    for measure in (fidelity.psnr, fidelity.ssim):
        np.testing.assert_allclose(measure(100 * x + 7, 100 * y + 7, low=-93, high=107), measure(x, y), rtol=1e-10)
        np.testing.assert_array_equal(measure(x, y)[1:], measure(x[1:], y[1:]))


def test_a_contrast_reversed_image_is_dissimilar_and_noise_lowers_both():
    x = images(0, (1, 16, 16, 1))
    noisy = [x + std * images(1, x.shape) for std in (0.05, 0.2, 0.5)]
    assert fidelity.ssim(x, -x)[0] < 0
    for measure in (fidelity.psnr, fidelity.ssim):
        values = [float(measure(y, x)[0]) for y in noisy]
        assert values[0] > values[1] > values[2]


def test_images_smaller_than_the_window_are_refused_with_the_fix():
    with pytest.raises(ValueError, match="images of 8×9 are smaller than the window of 11: pass window=7 or less"):
        fidelity.ssim(images(0, (1, 8, 9, 1)), images(1, (1, 8, 9, 1)))
    assert fidelity.ssim(images(0, (1, 8, 9, 1)), images(1, (1, 8, 9, 1)), window=7).shape == (1,)
    with pytest.raises(ValueError, match="window = 8 must be odd"):
        fidelity.ssim(images(), images(), window=8)


def test_other_shapes_and_ranges_are_refused():
    with pytest.raises(ValueError, match="images has shape .* but truth has shape"):
        fidelity.psnr(images(), images()[:1])
    with pytest.raises(ValueError, match="low < high"):
        fidelity.psnr(images(), images(), low=1.0)
    with pytest.raises(ValueError, match="truth: 1 of 2 rows hold NaN"):
        fidelity.psnr(images(), np.where(np.arange(2).reshape(2, 1, 1, 1) == 1, np.nan, images()))


@pytest.mark.usefixtures("unchecked")
def test_images_without_channels_are_refused():
    with pytest.raises(ValueError, match=r"\(n, h, w, c\)"):
        fidelity.ssim(images()[..., 0], images()[..., 0])
