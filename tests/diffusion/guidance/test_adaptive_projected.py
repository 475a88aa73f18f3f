"""Adaptive projected guidance: what is parallel to the conditional prediction counts less."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from tests.diffusion.guidance import classes

LEVEL = diffusion.Level(0.0, 0.8, 0.6)


def pair():
    return classes.of_class(0), classes.whole()


def guided(scale, **options):
    return diffusion.guidance.adaptive_projected(*pair(), scale, **options)(classes.noised(), LEVEL)


def parts():
    """The conditional prediction and what guidance adds to it at scale 2."""
    given, free = (denoise(classes.noised(), LEVEL).clean for denoise in pair())
    return np.asarray(given), np.asarray(given - free)


@pytest.mark.float64
def test_with_eta_one_it_is_classifier_free_guidance_and_at_scale_one_the_conditional_prediction_to_the_last_bit():
    plain = diffusion.guidance.classifier_free(*pair(), 4.0)(classes.noised(), LEVEL)
    np.testing.assert_array_equal(guided(4.0, eta=1.0).clean, plain.clean)
    np.testing.assert_array_equal(guided(4.0, eta=1.0).noise, plain.noise)
    np.testing.assert_array_equal(guided(1.0, eta=0.2, norm_threshold=0.01).clean, parts()[0])


@pytest.mark.float64
def test_eta_scales_the_parallel_part_alone():
    given, change = parts()
    along = np.sum(change * given, axis=1, keepdims=True) / np.sum(given**2, axis=1, keepdims=True) * given
    for eta in (0.0, 0.4):
        np.testing.assert_allclose(guided(3.0, eta=eta).clean, given + 2 * (change - along + eta * along), atol=1e-13)
    moved = np.asarray(guided(3.0, eta=0.0).clean) - given
    np.testing.assert_allclose(np.sum(moved * given, axis=1), 0, atol=1e-12)


@pytest.mark.float64
def test_a_change_longer_than_the_threshold_is_shortened_to_it_and_a_shorter_one_is_not():
    given, change = parts()
    norms = np.linalg.norm(change, axis=1)
    threshold = float(np.median(norms))
    moved = np.asarray(guided(2.0, eta=1.0, norm_threshold=threshold).clean) - given
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), np.minimum(norms, threshold), atol=1e-12)
    each = np.asarray(guided(2.0, eta=1.0, norm_threshold=norms / 2).clean) - given
    np.testing.assert_allclose(each, change / 2, atol=1e-12)


def test_a_prediction_of_zero_has_no_parallel_part():
    zero = diffusion.oracles.gaussian(0.0, 0.0)
    found = diffusion.guidance.adaptive_projected(zero, diffusion.oracles.gaussian(0.0, 1.0), 3.0)(jnp.ones((2, 4)), LEVEL)
    np.testing.assert_allclose(found.clean, -2.0, atol=1e-6)


@pytest.mark.parametrize(("options", "said"), [({"eta": 1.5}, "eta"), ({"norm_threshold": 0.0}, "norm_threshold"), ({"eta": -0.1}, "eta")])
def test_values_out_of_range_are_refused(options, said):
    with pytest.raises(ValueError, match=f"{said} = .* is outside"):
        diffusion.guidance.adaptive_projected(*pair(), 2.0, **options)
