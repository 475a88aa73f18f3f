"""Classifier guidance with the exact classifier of a mixture."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from tests.diffusion.guidance import classes

LEVELS = [diffusion.Level(0.0, 0.8, 0.6), diffusion.Level(0.0, 1.0, 0.1), diffusion.Level(0.0, 1.0, 3.0), diffusion.Level(0.0, 0.02, 0.98)]


@pytest.mark.float64
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("level", LEVELS)
def test_at_scale_one_it_is_the_conditional_and_at_any_scale_classifier_free_guidance(label, level):
    x, whole, part = classes.noised(), classes.whole(), classes.of_class(label)
    for scale in (np.zeros(5), np.ones(5), np.array([0.0, 0.5, 1.0, 2.0, 7.5])):
        found = classes.ask(diffusion.guidance.classifier(whole, classes.posterior(label), scale), x, level)
        expected = classes.ask(diffusion.guidance.classifier_free(part, whole, scale), x, level)
        np.testing.assert_allclose(found.clean, expected.clean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.noise, expected.noise, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        diffusion.guidance.classifier(whole, classes.posterior(label), 1.0)(x, level).noise, part(x, level).noise, atol=1e-9
    )


@pytest.mark.float64
def test_at_alpha_zero_it_leaves_the_prediction_and_at_sigma_zero_x_itself():
    x, whole = classes.noised(), classes.whole()
    for level in (diffusion.Level(0.0, 0.0, 1.0), diffusion.Level(0.0, 1.0, 0.0)):
        found = classes.ask(diffusion.guidance.classifier(whole, classes.posterior(0), np.full(5, 5.0)), x, level)
        plain = classes.ask(whole, x, level)
        np.testing.assert_allclose(found.clean, plain.clean, atol=1e-12)
        np.testing.assert_allclose(found.noise, plain.noise, atol=1e-12)


def _one_number(x, level):
    return jnp.sum(x)


def test_one_number_for_all_samples_is_refused():
    with pytest.raises(TypeError, match=r"answered shape \(\) .* one number per sample"):
        diffusion.guidance.classifier(diffusion.oracles.gaussian(1.0), _one_number, 1.0)(classes.noised(), LEVELS[0])
