"""Scales that depend on the noise level."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from tests.diffusion.guidance import classes

RATIOS = np.array([0.1, 0.2, 1.0, 5.0, 6.0])
LEVELS = diffusion.Level(np.zeros(5), np.full(5, 0.5), 0.5 * RATIOS)


def test_the_scale_holds_above_low_up_to_high_and_is_one_elsewhere():
    np.testing.assert_array_equal(diffusion.guidance.interval(3.0, 0.2, 5.0)(LEVELS), [1, 1, 3, 3, 1])
    np.testing.assert_array_equal(diffusion.guidance.interval(np.arange(5.0), 0.0, 2.0)(LEVELS), [0, 1, 2, 1, 1])


def test_both_ends_of_the_path_belong_to_an_interval_only_if_it_reaches_them():
    noise, clean = diffusion.Level(0.0, 0.0, 1.0), diffusion.Level(0.0, 1.0, 0.0)
    assert diffusion.guidance.interval(3.0, 0.2, np.inf)(noise) == 3
    assert diffusion.guidance.interval(3.0, 0.2, 1e6)(noise) == diffusion.guidance.interval(3.0, 0.0, np.inf)(clean) == 1


@pytest.mark.float64
def test_outside_the_interval_every_rule_is_the_conditional_prediction_to_the_last_bit():
    given, free, x = classes.of_class(0), classes.whole(), classes.noised()
    scale = diffusion.guidance.interval(3.0, 0.5, 2.0)
    for rule in (diffusion.guidance.classifier_free, diffusion.guidance.autoguidance, diffusion.guidance.adaptive_projected):
        outside, inside = diffusion.Level(0.0, 1.0, 4.0), diffusion.Level(0.0, 1.0, 1.0)
        np.testing.assert_array_equal(rule(given, free, scale)(x, outside).clean, given(x, outside).clean)
        np.testing.assert_array_equal(rule(given, free, scale)(x, outside).noise, given(x, outside).noise)
        np.testing.assert_array_equal(rule(given, free, scale)(x, inside).clean, rule(given, free, 3.0)(x, inside).clean)


def _share_of_noise(level):
    return jnp.asarray(level.sigma) ** 2


@pytest.mark.float64
def test_any_function_of_the_level_is_a_scale():
    given, free, x = classes.of_class(0), classes.whole(), classes.noised()
    for sigma in (0.3, 0.9):
        level = diffusion.Level(0.0, 0.5, sigma)
        found = diffusion.guidance.classifier_free(given, free, _share_of_noise)(x, level)
        np.testing.assert_array_equal(found.clean, diffusion.guidance.classifier_free(given, free, sigma**2)(x, level).clean)


@pytest.mark.parametrize(("ends", "said"), [((-1.0, 0.1, 1.0), "scale"), ((1.0, -0.1, 1.0), "low"), ((1.0, 0.1, float("nan")), "high")])
def test_values_out_of_range_are_refused(ends, said):
    with pytest.raises(ValueError, match=f"{said} = .* is outside"):
        diffusion.guidance.interval(*ends)
