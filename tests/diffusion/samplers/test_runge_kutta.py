"""Euler's method on the probability flow: its closed product on Gaussian data, the trajectory of the peers' test model, its order."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import Level, Prediction
from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def run(denoise, sampler, levels, start):
    index = jnp.arange(len(start))
    return np.asarray(sampling.sample(jax.random.key(0), denoise, sampler, levels, start.shape[1:], index, start=jnp.asarray(start)))


@pytest.mark.float64
def test_euler_on_gaussian_data_is_the_published_product():
    """prod(1 + (sigma' - sigma) sigma / (s² + sigma²)) over a Karras grid whose steps all start where alpha >= sigma, or below it."""
    s = 0.5
    levels = grids.karras(schedules.edm(sigma_max=1.0), 18)
    sigma = np.asarray(levels.sigma)
    factor = np.prod(1 + np.diff(sigma) * sigma[:-1] / (s**2 + sigma[:-1] ** 2))
    x = rand(0, 2, 3)
    np.testing.assert_allclose(run(oracles.gaussian(s), runge_kutta.euler(), levels, x), factor * x, rtol=1e-11)
    full = grids.karras(schedules.edm(), 18)
    sigma = np.asarray(full.sigma)
    factor = np.prod(1 + np.diff(sigma) * sigma[:-1] / (s**2 + sigma[:-1] ** 2))
    np.testing.assert_allclose(run(oracles.gaussian(s), runge_kutta.euler(), full, x), factor * x, rtol=1e-9)


@pytest.mark.float64
def test_euler_follows_the_right_trajectory_of_the_peers_test():
    """1100 linear steps, ten of them evenly spaced and unrounded, sigma interpolated; the input is scaled by 1 / sqrt(1 + sigma²)."""
    table = schedules.linear(1100).table
    t = np.linspace(0, 1099, 10)[::-1]
    ratio = np.append(np.interp(t, np.arange(1100), table.sigma / table.alpha), 0.0)
    alpha = 1 / np.sqrt(1 + ratio**2)
    levels = jax.tree.map(jnp.asarray, Level(np.append(t, -1.0), alpha, ratio * alpha))

    def denoise(x, level):
        noise = x * level.t / (level.t + 1)
        return Prediction((x - level.sigma * noise) / level.alpha, noise)

    sample = np.moveaxis(np.arange(768.0).reshape(3, 8, 8, 4) / 768, -1, 0)
    for sampler in (runge_kutta.euler(), ancestral.ddim()):
        found = run(denoise, sampler, levels, alpha[0] * ratio[0] * sample)
        assert np.abs(found).sum() == pytest.approx(168.05, abs=5e-3)


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.linear, schedules.cosine, schedules.flow, schedules.edm])
def test_euler_is_ddim(build):
    levels, x = grids.trailing(build(), 7), rand(0, 2, 3)
    gaussian = oracles.gaussian(0.5, 0.2)
    np.testing.assert_allclose(
        run(gaussian, runge_kutta.euler(), levels, x), run(gaussian, ancestral.ddim(), levels, x), rtol=1e-10, atol=1e-12
    )


@pytest.mark.float64
def test_euler_step_moves_along_noise_or_clean():
    x, clean = rand(0, 2, 3), rand(1, 2, 3)
    for level, cleaner in ((Level(0.0, 0.8, 0.6), Level(0.0, 0.9, np.sqrt(0.19))), (Level(0.0, 0.6, 0.8), Level(0.0, 0.8, 0.6))):
        noise = (x - level.alpha * clean) / level.sigma
        expected = cleaner.alpha * (x / level.alpha + (cleaner.sigma / cleaner.alpha - level.sigma / level.alpha) * noise)
        found = runge_kutta.euler_step(x, Prediction(jnp.asarray(clean), jnp.asarray(noise)), level, cleaner)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.float64
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9])
def test_the_last_step_returns_the_prediction(alpha):
    level = Level(5.0, alpha, np.sqrt(1 - alpha**2))
    levels = jax.tree.map(lambda a, b: jnp.array([a, b]), level, Level(-1.0, 1.0, 0.0))
    x, gaussian = rand(0, 2, 3), oracles.gaussian(0.5, 0.3)
    np.testing.assert_allclose(run(gaussian, runge_kutta.euler(), levels, x), gaussian(x, level).clean, rtol=1e-11, atol=1e-13)


@pytest.mark.float64
def test_euler_error_halves_when_steps_double():
    gaussian = oracles.gaussian(std=0.5)
    errors = [gaussian.endpoint_error(runge_kutta.euler(), steps) for steps in (40, 80, 160, 320)]
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert 0.9 < math.log2(coarse / fine) < 1.1


@pytest.mark.float64
def test_endpoint_error_is_measured_between_the_stated_levels():
    """Euler on Gaussian data from sigma/alpha = 20 to 0.05 even in log-SNR: known factors, for starts within two deviations."""
    s, steps = 0.5, 40
    ratio = np.geomspace(20, 0.05, steps + 1)
    alpha = 1 / np.sqrt(1 + ratio**2)
    factor = np.prod(1 + np.diff(ratio) * ratio[:-1] / (s**2 + ratio[:-1] ** 2)) * alpha[-1] / alpha[0]
    exact = np.sqrt((s**2 + ratio[-1] ** 2) / (s**2 + ratio[0] ** 2)) * alpha[-1] / alpha[0]
    start = np.linspace(-2, 2, 65) * alpha[0] * np.sqrt(s**2 + ratio[0] ** 2)
    expected = np.sqrt(np.mean(((factor - exact) * start) ** 2))
    assert oracles.gaussian(s).endpoint_error(runge_kutta.euler(), steps) == pytest.approx(expected, rel=1e-6)
