"""CFG++ against classifier-free guidance, step by step."""

import jax
import numpy as np
import pytest

from gendiff import diffusion
from tests.diffusion.guidance import classes

HERE, CLEANER = diffusion.Level(0.0, 0.8, 0.6), diffusion.Level(0.0, 0.95, 0.25)
NOISY, LESS = diffusion.Level(0.0, 0.3, 0.9), diffusion.Level(0.0, 0.5, 0.8)


def pair():
    return classes.of_class(0), classes.whole()


@jax.jit
def step(sampler, denoise, x, level, cleaner):
    noise = diffusion.sampling.KeyNoise(jax.random.split(jax.random.key(0), len(x)))
    return sampler.step(noise, denoise, sampler.init(x), level, cleaner, 1).x


@pytest.mark.float64
def test_clean_is_guided_and_noise_is_unconditional():
    given, free = pair()
    x = classes.noised()
    found = diffusion.guidance.cfg_plus_plus(given, free, 0.6)(x, HERE)
    np.testing.assert_array_equal(found.noise, free(x, HERE).noise)
    np.testing.assert_array_equal(found.clean, diffusion.guidance.classifier_free(given, free, 0.6)(x, HERE).clean)
    np.testing.assert_array_equal(diffusion.guidance.cfg_plus_plus(given, free, 0.0)(x, HERE).clean, free(x, HERE).clean)


@pytest.mark.float64
@pytest.mark.parametrize(("level", "cleaner"), [(HERE, CLEANER), (NOISY, LESS)])
def test_a_ddim_step_is_classifier_free_guidance_at_a_scale_that_grows_as_the_step_shrinks(level, cleaner):
    given, free = pair()
    x, scale = classes.noised(), 0.6
    q = cleaner.sigma * level.alpha / (level.sigma * cleaner.alpha)
    for sampler in (diffusion.samplers.ddim(), diffusion.samplers.dpm_solver_multistep(1)):
        found = step(sampler, diffusion.guidance.cfg_plus_plus(given, free, scale), x, level, cleaner)
        expected = step(sampler, diffusion.guidance.classifier_free(given, free, scale / (1 - q)), x, level, cleaner)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.float64
def test_samplers_that_rebuild_one_form_from_x_lose_it_as_the_docstring_says():
    given, free = pair()
    x, odd = classes.noised(), diffusion.guidance.cfg_plus_plus(given, free, 0.6)
    plain = diffusion.guidance.classifier_free(given, free, 0.6)
    for sampler in (diffusion.samplers.euler(), diffusion.samplers.euler_ancestral()):
        np.testing.assert_allclose(step(sampler, odd, x, HERE, CLEANER), step(sampler, free, x, HERE, CLEANER), atol=1e-12)
        np.testing.assert_allclose(step(sampler, odd, x, NOISY, LESS), step(sampler, plain, x, NOISY, LESS), atol=1e-12)
    ddpm = diffusion.samplers.ddpm()
    np.testing.assert_allclose(step(ddpm, odd, x, HERE, CLEANER), step(ddpm, plain, x, HERE, CLEANER), atol=1e-12)
    ddim, euler = (step(sampler, odd, x, HERE, CLEANER) for sampler in (diffusion.samplers.ddim(), diffusion.samplers.euler()))
    assert np.abs(ddim - euler).max() > 1e-3
