"""At the least noise the answer is x itself, bit for bit, and elsewhere the formulas agree with each other."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import distillation, parameterization, process, schedules
from gendiff.diffusion.types import Level
from tests.diffusion.flows import rand
from tests.quickly import in_numpy
from tests.refusals import refusals

KIND = distillation.boundary(0.3, 0.002)


def test_the_boundary_is_the_identity_bit_for_bit_whatever_the_network_answers():
    x, level, edm = jnp.asarray(rand(0, 4, 3), jnp.float32), schedules.edm().at(0.0), parameterization.edm(0.3)
    predict = in_numpy(lambda x, output, level: (KIND.predict(x, output, level), edm.predict(x, output, level)))
    for output in (0.0, 5.0, -1e6):
        pair, other = predict(x, jnp.full(x.shape, output), level)
        np.testing.assert_array_equal(pair.clean, x)
        np.testing.assert_array_equal(pair.noise, 0 * x)
        assert np.abs(other.clean - x).max() > 1e-6


@pytest.mark.float64
def test_below_the_boundary_x_over_alpha_is_the_answer_and_both_ends_are_finite(float64):
    levels = Level(0.0, np.array([1.0, 0.8, 0.5, 0.0]), np.array([0.0, 0.0016, 0.001, 1.0]))
    x, output = rand(0, 4, 3), rand(1, 4, 3)
    pair = in_numpy(KIND.predict)(x, output, levels)
    np.testing.assert_allclose(pair.clean[:3], x[:3] / levels.alpha[:3, None], rtol=1e-12)
    np.testing.assert_allclose(pair.clean[3], 0.3 * output[3], rtol=1e-12)
    np.testing.assert_allclose(pair.noise[3], x[3], rtol=1e-12)


@pytest.mark.float64
def test_prediction_target_and_gain_agree_and_no_boundary_is_edm(float64):
    level = Level(0.0, np.array([1.0, 0.6, 0.3]), np.array([0.01, 0.8, 2.0]))
    clean, noise, output = (rand(seed, 3, 2) for seed in range(3))

    @in_numpy
    def results(clean, noise, output, level):
        """Of each kind: x again, the pair of the exact output, how far clean moves with the output, the target, clean,
        the gain.
        """

        def results_of(kind):
            x = process.add_noise(clean, noise, level)
            target = kind.target(clean, noise, level)
            pair, moved, exact = (kind.predict(x, answer, level) for answer in (output, output + 1.0, target))
            again = process.add_noise(pair.clean, pair.noise, level) - x
            return again, exact.clean, exact.noise, moved.clean - pair.clean, target, pair.clean, kind.gain(level)

        return results_of(KIND), results_of(distillation.boundary(0.3, 0.0)), results_of(parameterization.edm(0.3))

    boundary_values, plain, edm = results(clean, noise, output, level)
    np.testing.assert_allclose(boundary_values[0], 0 * clean, atol=1e-10)
    np.testing.assert_allclose(boundary_values[1:3], [clean, noise], rtol=1e-10)
    np.testing.assert_allclose(1 / boundary_values[3][:, 0] ** 2, boundary_values[-1], rtol=1e-8)
    for ours, theirs in zip(plain[1:], edm[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert np.abs(boundary_values[5] - edm[5]).max() > 1e-4 and KIND == distillation.boundary(
        0.3, 0.002
    ) != distillation.boundary(0.3, 0.003)


test_numbers_out_of_range_are_refused = refusals(
    (lambda: distillation.boundary(data_std=0.0), "data_std = 0"),
    (lambda: distillation.boundary(sigma_min=-0.1), "sigma_min = -0.1"),
)
