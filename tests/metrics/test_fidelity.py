import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gendiff.metrics import fidelity


def images(seed=0, shape=(2, 13, 12, 3)):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def test_psnr_is_scikit_images_and_infinite_for_equal_images():
    x, y = images(0), images(1)
    for low, high in ((-1, 1), (0, 1)):
        expected = [peak_signal_noise_ratio(a, b, data_range=high - low) for a, b in zip(x, y, strict=True)]
        np.testing.assert_allclose(fidelity.psnr(y, x, low=low, high=high), expected, rtol=1e-12)
    np.testing.assert_allclose(fidelity.psnr(x + [[[[0.02]]], [[[0.2]]]], x), [40, 20], rtol=1e-9)
    assert np.all(np.isinf(fidelity.psnr(x, x)))


@pytest.mark.parametrize(("window", "std"), [(11, 1.5), (9, 1.0), (5, 0.7)])
def test_ssim_is_scikit_images_where_it_has_that_window(window, std):
    x, y = images(0), images(0) + 0.3 * images(1)
    options = {"gaussian_weights": True, "sigma": std, "use_sample_covariance": False, "channel_axis": -1}
    for scale in (1.0, 255.0):
        a, b = scale * (x + 1) / 2, scale * (y + 1) / 2
        expected = [structural_similarity(p, q, data_range=scale, **options) for p, q in zip(a, b, strict=True)]
        np.testing.assert_allclose(fidelity.ssim(a, b, low=0, high=scale, window=window, std=std), expected, rtol=1e-10)


@pytest.mark.parametrize(("window", "std"), [(7, 1.5), (3, 2.0)])
def test_ssim_of_an_image_as_wide_as_the_window_is_the_formula_written_out(window, std):
    x, y = images(0, (1, window, window, 1)), images(1, (1, window, window, 1))
    place = np.arange(window) - window // 2
    weights = np.exp(-(place[:, None] ** 2 + place**2) / (2 * std**2))
    a, b, weights = (x[0, ..., 0] + 1) / 2, (y[0, ..., 0] + 1) / 2, weights / weights.sum()
    mean_a, mean_b = np.sum(weights * a), np.sum(weights * b)
    var_a, var_b, both = (
        np.sum(weights * (p - m) * (q - n)) for p, m, q, n in ((a, mean_a, a, mean_a), (b, mean_b, b, mean_b), (a, mean_a, b, mean_b))
    )
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    np.testing.assert_allclose(fidelity.ssim(x, y, window=window, std=std), expected, rtol=1e-10)


@pytest.mark.parametrize("measure", [fidelity.psnr, fidelity.ssim])
def test_it_is_symmetric_the_unit_enters_by_the_range_and_an_image_does_not_know_its_neighbours(measure):
    x, y = images(0), images(1)
    np.testing.assert_allclose(measure(x, y), measure(y, x), rtol=1e-12)
    np.testing.assert_allclose(measure(100 * x + 7, 100 * y + 7, low=-93, high=107), measure(x, y), rtol=1e-10)
    np.testing.assert_array_equal(measure(x, y)[1:], measure(x[1:], y[1:]))
    values = [float(measure(x + std * y, x)[0]) for std in (0.05, 0.2, 0.5)]
    assert values[0] > values[1] > values[2]


def test_ssim_of_equal_images_is_one_and_of_reversed_contrast_negative():
    x = images()
    np.testing.assert_allclose(fidelity.ssim(x, x), 1, rtol=1e-12)
    assert np.all(fidelity.ssim(x, -x) < 0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: fidelity.ssim(x[:, :8, :9], x[:, :8, :9]), "images of 8×9 are smaller than the window of 11: pass window=7 or less"),
        (lambda x: fidelity.ssim(x, x, window=8), "window = 8 must be odd"),
        (lambda x: fidelity.ssim(x[..., 0], x[..., 0]), r"\(n, h, w, c\)"),
        (lambda x: fidelity.psnr(x, x[:1]), "images has shape .* but truth has shape"),
        (lambda x: fidelity.psnr(x, x, low=1.0), "low < high"),
        (lambda x: fidelity.psnr(x, np.where(np.arange(2).reshape(2, 1, 1, 1) == 1, np.nan, x)), "truth: 1 of 2 rows hold NaN"),
    ],
)
def test_mistakes_are_refused_with_the_fix(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(images())
