"""Dynamic thresholding brings a clean prediction back into the data's range, each sample by itself."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.core import records

LEVEL = diffusion.Level(0.0, 0.8, 0.6)


@records.record
class Says:
    """A denoiser that always answers one clean sample."""

    clean: object

    def __call__(self, x, level):
        return diffusion.Prediction(self.clean, (x - level.alpha * self.clean) / level.sigma)


def said(scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(0).normal(size=(4, 3, 5)))


def x():
    return jnp.asarray(np.random.default_rng(1).normal(size=(4, 3, 5)))


@pytest.mark.float64
def test_what_lies_within_the_bound_passes_bit_for_bit():
    clean = jnp.clip(said(), -1, 1)
    for told, bound in ((clean, 1.0), (2 * clean, 2.0)):
        found, plain = diffusion.guidance.dynamic_threshold(Says(told), bound=bound)(x(), LEVEL), Says(told)(x(), LEVEL)
        np.testing.assert_array_equal(found.clean, plain.clean)
        np.testing.assert_array_equal(found.noise, plain.noise)


@pytest.mark.float64
def test_it_is_the_formula_of_each_sample_and_its_noise_explains_x():
    for share in (0.0, 0.5, 0.9, 1.0):
        found = diffusion.guidance.dynamic_threshold(Says(said(3.0)), share)(x(), LEVEL)
        for i in range(4):
            one = np.asarray(said(3.0)[i])
            limit = max(1.0, np.percentile(np.abs(one), 100 * share))
            np.testing.assert_allclose(found.clean[i], np.clip(one, -limit, limit) / limit, atol=1e-14)
        np.testing.assert_allclose(found.noise, (x() - 0.8 * found.clean) / 0.6, atol=1e-13)
        assert np.abs(found.clean).max() <= 1


def test_at_sigma_zero_the_clean_prediction_is_bounded_and_the_noise_stays():
    oracle, level = diffusion.oracles.gaussian(5.0), diffusion.Level(0.0, 1.0, 0.0)
    found = diffusion.guidance.dynamic_threshold(oracle)(4 * x().astype(np.float32), level)
    assert np.abs(found.clean).max() <= 1 and np.all(found.noise == 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 99.5}, r"percentile = 99.5 is outside \[0, 1\]: it is a share, 0.995 for 99.5 %"),
        ({"percentile": -0.1}, "percentile = -0.1 is outside"),
        ({"percentile": float("nan")}, "percentile = nan is outside"),
        ({"bound": 0.0}, "bound = 0 is outside"),
        ({"bound": np.ones(4)}, "single numbers"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        diffusion.guidance.dynamic_threshold(Says(said()), **options)
