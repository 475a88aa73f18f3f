"""Predictor-corrector: the published corrector step with norms of each sample, what it leaves alone, what it settles, and its cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.samplers.predictor_corrector import langevin_step, predictor_corrector
from gendiff.diffusion.types import Level, Prediction

MIXTURE = oracles.mixture([0.4, 0.6], np.array([[-1.0, 0.5, 0.0], [1.0, 0.2, -0.3]]), [0.3, 0.5])
LEVELS = grids.trailing(schedules.cosine(), 4)
KEY = jax.random.key(3)


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@jax.jit
def run(sampler, levels, index, num_steps=None):
    return sampling.sample(KEY, MIXTURE, sampler, levels, (3,), index, num_steps=num_steps)


@pytest.mark.float64
def test_corrector_is_the_published_step_with_norms_of_each_sample():
    """e = 2 (r |z| / |g|)², x + e g + sqrt(2e) z (Song et al., 2021b, Alg. 4)."""
    level, snr = Level(0.0, 0.8, 0.6), 0.16
    x, predicted, z = (rand(seed, 2, 4, 4, 3) for seed in range(3))
    expected = np.empty_like(x)
    for i in range(2):
        score = -predicted[i] / 0.6
        step = 2 * (snr * np.linalg.norm(z[i]) / np.linalg.norm(score)) ** 2
        expected[i] = x[i] + step * score + np.sqrt(2 * step) * z[i]
    told = Prediction(jnp.asarray(x), jnp.asarray(predicted))
    np.testing.assert_allclose(langevin_step(x, told, level, noise=z, snr=snr), expected, rtol=1e-12)
    scaled = Level(0.0, 8.0, 6.0)
    np.testing.assert_allclose(langevin_step(10 * x, told, scaled, noise=z, snr=snr), 10 * expected, rtol=1e-12)


def test_corrector_leaves_x_at_the_clean_end_and_where_snr_is_zero():
    x, z = jnp.asarray(rand(0, 2, 3), jnp.float32), jnp.ones((2, 3))
    told = Prediction(x, x)
    np.testing.assert_array_equal(langevin_step(x, told, Level(0.0, 1.0, 0.0), noise=z, snr=0.16), x)
    np.testing.assert_array_equal(langevin_step(x, told, Level(0.0, 0.6, 0.8), noise=z, snr=0.0), x)
    nothing = Prediction(x, jnp.zeros_like(x))
    slope = jax.grad(lambda x: jnp.sum(langevin_step(x, nothing, Level(0.0, 0.6, 0.8), noise=z, snr=0.16)))(x)
    assert np.all(np.isfinite(slope)), "a predicted noise of 0 has no norm to divide by"


def test_corrector_settles_x_at_the_spread_of_its_level():
    """In many dimensions, from a third of the spread; a step d adds a factor 2 / (2 - d) to the variance, d = 2 r² here."""
    gaussian, level, snr = oracles.gaussian(1.0), Level(0.0, 0.6, 0.8), 0.16
    x = jnp.asarray(rand(0, 2, 4096) / 3, jnp.float32)

    def settle(x, key):
        noise = jax.random.normal(key, x.shape)
        return langevin_step(x, gaussian(x, level), level, noise=noise, snr=snr), None

    x, _ = jax.lax.scan(settle, x, jax.random.split(jax.random.key(5), 200))
    np.testing.assert_allclose(jnp.std(x, axis=1), 1.0, atol=0.05)


def test_without_corrector_steps_or_without_their_size_it_is_the_predictor():
    plain = run(runge_kutta.euler(), LEVELS, jnp.arange(2))
    np.testing.assert_allclose(run(predictor_corrector(runge_kutta.euler(), corrector_steps=0), LEVELS, jnp.arange(2)), plain, atol=1e-6)
    np.testing.assert_allclose(run(predictor_corrector(runge_kutta.euler(), snr=0.0), LEVELS, jnp.arange(2)), plain, atol=1e-6)


@pytest.mark.parametrize("predictor", [ancestral.ddpm(), runge_kutta.heun()], ids=["ddpm", "heun"])
def test_the_last_step_to_clean_is_the_predictors(predictor):
    """One step is all predictor: nothing is corrected at sigma = 0."""
    only = grids.trailing(schedules.cosine(), 1)
    np.testing.assert_allclose(run(predictor_corrector(predictor), only, jnp.arange(2)), run(predictor, only, jnp.arange(2)), atol=1e-6)


@pytest.mark.parametrize("corrector_steps", [1, 2])
def test_a_sample_depends_neither_on_its_neighbours_nor_on_padding(corrector_steps):
    sampler = predictor_corrector(corrector_steps=corrector_steps)
    three = run(sampler, LEVELS, jnp.array([4, 1, 7]))
    np.testing.assert_allclose(three[2:], run(sampler, LEVELS, jnp.array([7])), atol=5e-6)
    np.testing.assert_allclose(run(sampler, grids.padded(LEVELS, 6), jnp.array([4, 1, 7]), jnp.asarray(4)), three, atol=5e-6)


def test_correctors_draw_noise_of_their_own():
    one, two = (predictor_corrector(runge_kutta.euler(), corrector_steps=n) for n in (1, 2))
    assert np.abs(run(one, LEVELS, jnp.arange(2)) - run(two, LEVELS, jnp.arange(2))).min() > 1e-4


def test_settings_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="corrector_steps"):
        predictor_corrector(corrector_steps=-1)
    with pytest.raises(ValueError, match="snr"):
        predictor_corrector(snr=-0.1)
