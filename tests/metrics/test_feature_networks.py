"""Features from networks: the two rules of resizing, a fixed random network, and what a network of 8-bit pictures
sees.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gendiff import networks
from gendiff.metrics import features, frechet, resizing
from tests.metrics.rows import rng, uniform
from tests.refusals import refusals
from tests.tables import table

PICTURES = rng().integers(0, 256, (2, 9, 13, 3), dtype=np.uint8)
FROZEN = [0.339168, 0.163518, 0.351666, 0.086479]
"""Of the first picture with seed 0."""
SIZES = [1, 5, 9, 13, 31, 40]


def pillow(pictures, size):
    """clean-fid's own way: each channel as floats, Pillow's bicubic, no rounding."""
    channels = np.moveaxis(pictures, -1, 1).reshape(-1, *pictures.shape[1:3]).astype(np.float32)
    resized = [
        np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BICUBIC)) for channel in channels
    ]
    return np.moveaxis(np.reshape(resized, (len(pictures), -1, size, size)), 1, -1)


def pixel_by_pixel(pictures, size):
    """TensorFlow 1's `resize_bilinear` written out."""
    height, width = pictures.shape[1:3]
    result = np.empty((len(pictures), size, size, pictures.shape[-1]))
    for i in range(size):
        for j in range(size):
            y, x = i * height / size, j * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper, lower = (
                (1 - x + left) * pictures[:, row, left] + (x - left) * pictures[:, row, right] for row in (top, bottom)
            )
            result[:, i, j] = (1 - y + top) * upper + (y - top) * lower
    return result


@table("size", SIZES)
@table("name, reference", [("clean-fid", pillow), ("tf", pixel_by_pixel)])
def test_a_rule_is_that_of_the_program_that_it_is_named_after(name, reference, size):
    images = PICTURES.astype(np.float32)
    np.testing.assert_allclose(
        resizing.rule(name)(jnp.asarray(images), size), reference(images, size), rtol=0, atol=2e-4
    )


@table("shape, size", [((1, 64, 64, 1), 299), ((1, 512, 300, 3), 299)])
def test_pillow_agrees_at_the_size_of_inception(shape, size):
    images = rng(1).integers(0, 256, shape).astype(np.float32)
    np.testing.assert_allclose(resizing.clean_fid(jnp.asarray(images), size), pillow(images, size), rtol=0, atol=2e-4)


def test_only_the_clean_rule_keeps_stripes_of_a_pixel_from_becoming_a_flat_picture():
    stripes = jnp.asarray(
        np.tile([0.0, 255.0], 32).astype(np.float32)[None, None, :, None] * np.ones((1, 64, 1, 1), np.float32)
    )
    assert np.asarray(resizing.tf(stripes, 32)).max() == 0  # every second pixel
    np.testing.assert_allclose(resizing.clean_fid(stripes, 32)[:, :, 2:-2], 127.5, atol=20)


def test_random_convolutions_are_the_network_that_they_state_written_in_numpy():
    images = uniform(0, 3, 6, 5, 2).astype(np.float32)
    draws = np.random.RandomState(7)
    y, expected = images.astype(np.float64), []
    for inputs, outputs, stride in ((2, 4, 1), (4, 3, 2)):
        kernel = draws.standard_normal((3, 3, inputs, outputs)) * np.sqrt(2 / (9 * inputs))
        bias = 0.1 * draws.standard_normal(outputs)
        padded = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::stride, ::stride]
        y = np.maximum(np.tensordot(windows, kernel, ([4, 5, 3], [0, 1, 2])) + bias, 0)
        expected += [y.mean((1, 2)), y.std((1, 2))]
    rows = features.extract(features.random_convolutions(7, widths=(4, 3)), images, batch=2)
    np.testing.assert_allclose(rows, np.concatenate(expected, -1), rtol=0, atol=1e-5)


def test_the_seed_alone_decides_the_random_network_and_its_numbers_are_frozen():
    images = (np.arange(2 * 4 * 4 * 1).reshape(2, 4, 4, 1) / 16 - 1).astype(np.float32)
    one, same, other = (np.asarray(features.random_convolutions(seed)(images)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (2, 224) and np.abs(one - other).max() > 0.1
    np.testing.assert_allclose(one[0, :4], FROZEN, atol=1e-5)


def test_random_convolutions_tell_texture_apart_that_has_the_same_mean_and_variance():
    noise, other, blurred = (uniform(seed, 200, 8, 8, 1) for seed in (0, 1, 2))
    blurred = blurred + np.roll(blurred, 1, 1)
    blurred *= noise.std() / blurred.std()
    function = features.random_convolutions(0, widths=(4, 8))
    rows = [features.extract(function, pictures.astype(np.float32)) for pictures in (noise, other, blurred)]
    assert frechet.frechet_distance(rows[0], rows[2]) > 3 * frechet.frechet_distance(rows[0], rows[1])


def network_inputs(images, **options):
    """What the network gets."""
    network = features.inception(lambda params, x: params * x.reshape(len(x), -1), jnp.float32(1), **options)(images)
    return np.asarray(network).reshape(len(images), options.get("size", 299), -1, 3)


def test_the_network_sees_eight_bits_resized_and_scaled_whatever_the_images_are_stored_as():
    expected = (pillow(PICTURES, 20) - 128) / 128
    np.testing.assert_allclose(network_inputs(PICTURES, size=20), expected, atol=1e-5)
    unit = (PICTURES / 127.5 - 1).astype(np.float32)
    # the nearest whole values
    np.testing.assert_allclose(network_inputs(unit + 0.4 / 127.5 * (np.abs(unit) < 0.99), size=20), expected, atol=1e-5)
    grey = PICTURES[..., :1]
    np.testing.assert_array_equal(network_inputs(grey, size=20), network_inputs(np.repeat(grey, 3, -1), size=20))
    usual = network_inputs(PICTURES, size=20, resize="tf", centre=127.5, spread=127.5)
    np.testing.assert_allclose(usual, pixel_by_pixel(PICTURES, 20) / 127.5 - 1, atol=1e-5)


def test_the_default_is_299_pixels_and_the_parameters_are_arguments_of_one_program():
    traces = []

    def predict(params, x):
        traces.append(x.shape)
        return params * jnp.mean(x, (1, 2))

    function = features.inception(predict, jnp.float32(2))
    first = features.extract(function, PICTURES, batch=1)
    assert traces == [(1, 299, 299, 3)] and first.shape == (2, 3)


@pytest.mark.slow
def test_inception_of_networks_gives_rows_of_2048():
    network = networks.Inception("fid")
    params = networks.init(network, jax.random.key(0), np.zeros((1, 75, 75, 3), np.float32))
    function = features.inception(networks.pure(network), params, size=75)
    rows = features.extract(function, PICTURES, batch=1)
    assert rows.shape == (2, 2048) and np.ptp(rows, axis=0).max() > 0


def through(images, **options):
    return features.inception(lambda params, x: x, (), **options)(images)


test_what_features_cannot_be_made_of_is_refused = refusals(
    (
        lambda: through(PICTURES, resize="clean_fid"),
        "resize = 'clean_fid' is none of clean-fid, tf; did you mean 'clean-fid'",
    ),
    (lambda: through(PICTURES, size=0), "size = 0"),
    (lambda: through(PICTURES, spread=0.0), "spread = 0 is outside"),
    (lambda: through(PICTURES, centre=float("nan")), "centre is not finite"),
    (lambda: through(PICTURES[..., :2]), "with 1 or 3 channels, got shape"),
    (lambda: through(PICTURES.astype(np.int64)), "uint8, or floats"),
    (
        lambda: through(2 * np.linspace(-0.995, 0.995, 48).reshape(1, 4, 4, 3)),
        r"images lie in \[-1.99, 1.99\]: floats must lie in \[-1, 1\]",
    ),
    (lambda: features.random_convolutions(-1), "seed = -1"),
    (lambda: features.random_convolutions(0, widths=()), r"widths = \(\) has no layer"),
    (lambda: features.random_convolutions(0, widths=(4, 0)), "widths = 0"),
    (lambda: features.random_convolutions(0)(PICTURES[0]), r"images must be \(n, h, w, c\), got shape \(9, 13, 3\)"),
)
