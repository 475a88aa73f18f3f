"""Flow coordinates: the angle of the noise path, and a scaled sample that turns with it, finite from clean to pure
noise.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import flow_coordinates, oracles, schedules
from gendiff.diffusion.types import Level, Prediction

CLEAN, NOISE = Level(0.0, 1.0, 0.0), Level(0.0, 0.0, 1.0)
LEVELS = [CLEAN, Level(0.0, 0.6, 0.8), Level(0.0, 1.0, 0.002), Level(0.0, 1.0, 80.0), Level(0.0, 0.3, 0.7), NOISE]


def angle(level):
    return np.arctan2(level.sigma, level.alpha)


@pytest.mark.float64
def test_angles_between_levels_add_up_and_half_tangents_belong_to_them():
    for level, other in itertools.product(LEVELS, LEVELS):
        turn = angle(other) - angle(level)
        np.testing.assert_allclose(flow_coordinates.between(level, other), turn, atol=1e-12)
        np.testing.assert_allclose(flow_coordinates.half_tangent(level, other), np.tan(turn / 2), atol=1e-12)
    assert (
        float(flow_coordinates.half_tangent(CLEAN, NOISE)) == 1
        and float(flow_coordinates.half_tangent(NOISE, CLEAN)) == -1
    )
    assert (
        float(flow_coordinates.between(LEVELS[1], LEVELS[1]))
        == float(flow_coordinates.half_tangent(LEVELS[1], LEVELS[1]))
        == 0
    )


@pytest.mark.float64
def test_a_scaled_sample_turns_from_clean_to_noise_with_its_velocity():
    """w = cos(a) clean + sin(a) noise, and v = dw/da, for fixed clean and noise."""
    clean, noise = np.random.default_rng(0).normal(size=(2, 3, 4))
    for level in LEVELS:
        x, a = level.alpha * clean + level.sigma * noise, angle(level)
        w = flow_coordinates.scaled(x, level)
        np.testing.assert_allclose(w, np.cos(a) * clean + np.sin(a) * noise, atol=1e-12)
        np.testing.assert_allclose(flow_coordinates.unscaled(w, level), x, atol=1e-12)
        velocity = flow_coordinates.velocity(Prediction(jnp.asarray(clean), jnp.asarray(noise)), level)
        np.testing.assert_allclose(velocity, np.cos(a) * noise - np.sin(a) * clean, atol=1e-12)


@pytest.mark.float64
def test_gaussian_data_of_unit_variance_stand_still():
    """Its exact flow only stretches x by the length of the path, so w has no velocity, whatever the schedule."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    for schedule in (schedules.flow(), schedules.edm(), schedules.linear(100)):
        level = schedule.at(jnp.linspace(0.1, 1.0, 4))
        np.testing.assert_allclose(flow_coordinates.velocity(oracles.gaussian(1.0)(x, level), level), 0, atol=1e-12)


def test_lengths_are_one_on_a_preserving_path_and_gradients_are_finite_at_both_ends():
    np.testing.assert_allclose(flow_coordinates.length(schedules.cosine(50).table), 1, rtol=1e-6)

    def turn(alpha, sigma, other):
        level = Level(0.0, alpha, sigma)
        return flow_coordinates.between(level, other) + flow_coordinates.half_tangent(level, other)

    for level, other in ((CLEAN, NOISE), (NOISE, CLEAN), (CLEAN, LEVELS[1])):
        assert np.all(np.isfinite(jax.grad(turn, argnums=(0, 1))(level.alpha, level.sigma, other)))
