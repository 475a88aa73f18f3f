"""Predictor-corrector: the published corrector step with norms of each sample, what it leaves alone, and what it
settles.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.samplers.predictor_corrector import langevin_step, predictor_corrector
from gendiff.diffusion.types import Level, Prediction
from tests.diffusion.samplers.draws import KEY, MIXTURE, rand

LEVELS = grids.trailing(schedules.cosine(), 4)
LEVEL = Level(0.0, 0.6, 0.8)
EULER = runge_kutta.euler()


@jax.jit
def run(sampler, levels=LEVELS, index=(0, 1), num_steps=None):
    return sampling.sample(KEY, MIXTURE, sampler, levels, (3,), jnp.asarray(index), num_steps=num_steps)


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
    prediction = Prediction(jnp.asarray(x), jnp.asarray(predicted))
    np.testing.assert_allclose(langevin_step(x, prediction, level, noise=z, snr=snr), expected, rtol=1e-12)
    scaled = langevin_step(10 * x, prediction, Level(0.0, 8.0, 6.0), noise=z, snr=snr)
    np.testing.assert_allclose(scaled, 10 * expected, rtol=1e-12)


def test_corrector_leaves_x_at_the_clean_end_and_where_snr_is_zero():
    x, z = jnp.asarray(rand(0, 2, 3), jnp.float32), jnp.ones((2, 3))
    for level, snr in ((Level(0.0, 1.0, 0.0), 0.16), (LEVEL, 0.0)):
        np.testing.assert_array_equal(langevin_step(x, Prediction(x, x), level, noise=z, snr=snr), x)
    nothing = Prediction(x, jnp.zeros_like(x))
    slope = jax.grad(lambda x: jnp.sum(langevin_step(x, nothing, LEVEL, noise=z, snr=0.16)))(x)
    assert np.all(np.isfinite(slope)), "a predicted noise of 0 has no norm to divide by"


def test_corrector_settles_x_at_the_spread_of_its_level():
    """In many dimensions, from a third of the spread; a step d adds a factor 2 / (2 - d) to the variance, d = 2 r²
    here.
    """

    def settle(x, key):
        noise = jax.random.normal(key, x.shape)
        return langevin_step(x, oracles.gaussian(1.0)(x, LEVEL), LEVEL, noise=noise, snr=0.16), None

    x, _ = jax.lax.scan(
        settle, jnp.asarray(rand(0, 2, 4096) / 3, jnp.float32), jax.random.split(jax.random.key(5), 200)
    )
    np.testing.assert_allclose(jnp.std(x, axis=1), 1.0, atol=0.05)


@pytest.mark.parametrize(
    ("sampler", "predictor", "levels"),
    [
        (predictor_corrector(EULER, corrector_steps=0), EULER, LEVELS),
        (predictor_corrector(EULER, snr=0.0), EULER, LEVELS),
        (predictor_corrector(ancestral.ddpm()), ancestral.ddpm(), grids.trailing(schedules.cosine(), 1)),
        (predictor_corrector(runge_kutta.heun()), runge_kutta.heun(), grids.trailing(schedules.cosine(), 1)),
    ],
    ids=["no corrector steps", "no size", "ddpm to clean", "heun to clean"],
)
def test_without_corrector_steps_or_their_size_or_in_the_last_step_it_is_the_predictor(sampler, predictor, levels):
    np.testing.assert_allclose(run(sampler, levels), run(predictor, levels), atol=1e-6)


def test_correctors_draw_noise_of_their_own_whatever_the_neighbours_and_the_padding():
    one, two = (predictor_corrector(corrector_steps=n) for n in (1, 2))
    three = run(two, index=jnp.array([4, 1, 7]))
    np.testing.assert_allclose(three[1:], run(two, index=jnp.array([1, 7])), atol=5e-6)
    np.testing.assert_allclose(
        run(two, grids.padded(LEVELS, 6), jnp.array([4, 1, 7]), jnp.asarray(4)), three, atol=5e-6
    )
    assert np.abs(run(one, index=jnp.array([4, 1, 7])) - three).min() > 1e-4
