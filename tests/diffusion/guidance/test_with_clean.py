import numpy as np
import pytest

from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.types import Level
from tests.diffusion.guidance import classes


@pytest.mark.float64
def test_the_noise_follows_another_clean_sample_so_that_x_is_still_explained():
    x, level = classes.noised(), Level(0.0, 0.8, 0.6)
    told = classes.whole()(x, level)
    moved = with_clean(told, told.clean + 1.5, level)
    np.testing.assert_allclose(0.8 * moved.clean + 0.6 * moved.noise, x, atol=1e-13)
    np.testing.assert_array_equal(with_clean(told, told.clean, level).noise, told.noise)


@pytest.mark.float64
def test_at_sigma_zero_the_noise_stays():
    x, level = classes.noised(), Level(0.0, 1.0, 0.0)
    told = classes.whole()(x, level)
    np.testing.assert_array_equal(with_clean(told, told.clean + 1.5, level).noise, told.noise)
