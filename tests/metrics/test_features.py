import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.metrics import features


def images(n=7):
    return np.random.default_rng(0).uniform(-1, 1, (n, 4, 3, 2)).astype(np.float32)


def test_pixels_are_the_flattened_image():
    np.testing.assert_array_equal(features.pixels(images()), images().reshape(7, 24))
    assert features.pixels(images()).dtype == np.float64


@pytest.mark.parametrize("batch", [1, 3, 7, 500])
def test_the_batch_size_of_extraction_changes_nothing(batch):
    given = features.extract(lambda x: jnp.asarray(x).mean(axis=(1, 2)), images(), batch=batch)
    assert given.shape == (7, 2)
    np.testing.assert_allclose(given, images().mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x, r"must be features \(n, d\)"),
        (lambda x: x.reshape(len(x), -1)[:1], "returned 1 rows for 3 images"),
        (lambda x: x.reshape(len(x), -1) * np.nan, "3 of 3 rows hold NaN"),
    ],
)
def test_a_feature_function_of_the_wrong_kind_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        features.extract(function, images(), batch=3)


def test_no_images_have_no_features():
    with pytest.raises(ValueError, match="n >= 1"):
        features.extract(features.pixels, images(0))
