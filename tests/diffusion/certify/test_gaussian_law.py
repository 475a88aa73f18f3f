"""The exact law of affine samplers: against the recursions of mean and variance written out, and refused where it does not exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.diffusion import oracles, sampling
from gendiff.diffusion.certify import gaussian_law
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Level

STD, MEAN, STEPS = np.array([0.3, 1.0, 0.0]), np.array([0.5, -0.2, 1.0]), 5


def levels():
    angle = np.linspace(1.2, 0.1, STEPS + 1)
    return Level(jnp.asarray(angle), jnp.asarray(np.cos(angle)), jnp.asarray(np.sin(angle)))


def law(sampler, steps=STEPS):
    return gaussian_law.law(sampler, STD, MEAN, levels(), steps, gaussian_law.find_draws(sampler, levels(), steps))


def recursion(step):
    """Mean and variance of x' = a x + b + sqrt(c) z over the grid, where step(level, cleaner) answers (a, b, c)."""
    grid = [jax.tree.map(lambda field, j=j: float(field[j]), levels()) for j in range(STEPS + 1)]
    mean, variance = grid[0].alpha * MEAN, grid[0].alpha ** 2 * STD**2 + grid[0].sigma ** 2
    for level, cleaner in zip(grid, grid[1:], strict=False):
        a, b, c = step(level, cleaner)
        mean, variance = a * mean + b, a**2 * variance + c
    return mean, np.sqrt(variance)


def told(level):
    """clean = k x + l, noise = p x + q of the Gaussians."""
    total = level.alpha**2 * STD**2 + level.sigma**2
    k, p = level.alpha * STD**2 / total, level.sigma / total
    return k, MEAN * (1 - k * level.alpha), p, -p * level.alpha * MEAN


def ddim_moments(eta):
    def step(level, cleaner):
        k, m, p, q = told(level)
        fresh = (eta * cleaner.sigma) ** 2 * (1 - (cleaner.sigma * level.alpha / (level.sigma * cleaner.alpha)) ** 2)
        kept = np.sqrt(cleaner.sigma**2 - fresh)
        return cleaner.alpha * k + kept * p, cleaner.alpha * m + kept * q, fresh

    return recursion(step)


@pytest.mark.float64
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_the_law_of_ddim_is_its_recursion(eta):
    found, (mean, std) = law(ancestral.ddim(eta)), ddim_moments(eta)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, std, rtol=1e-12)
    np.testing.assert_allclose(found.exact_mean, np.cos(0.1) * MEAN)
    np.testing.assert_allclose(found.exact_std, np.hypot(np.cos(0.1) * STD, np.sin(0.1)))
    np.testing.assert_allclose(found.distance, np.hypot(found.mean - found.exact_mean, found.std - found.exact_std))


@pytest.mark.float64
def test_small_variance_is_exact_for_a_point_mass_and_large_for_unit_gaussians():
    """Ho et al., 2020, Sec. 3.2, with alpha² + sigma² = 1."""
    small, large = law(ancestral.ddpm()), law(ancestral.ddpm("large"))
    assert small.distance[2] < 1e-15 < 1e-3 < small.distance[1]
    assert abs(large.std[1] - large.exact_std[1]) < 1e-15 and abs(small.std[1] - small.exact_std[1]) > 1e-3


@pytest.mark.float64
def test_a_drawn_sample_has_the_law():
    found = law(ancestral.ddpm())
    count, level = 20000, levels()[0]
    for k in range(2):
        gaussian = oracles.gaussian(STD[k], MEAN[k])
        noise = jax.random.normal(jax.random.key(k), (count, 1))
        start = level.alpha * MEAN[k] + jnp.hypot(level.alpha * STD[k], level.sigma) * noise
        x = sampling.sample(jax.random.key(9), gaussian, ancestral.ddpm(), levels(), (1,), jnp.arange(count), start=start)
        assert abs(float(x.mean()) - found.mean[k]) < 4 * found.std[k] / np.sqrt(count)
        assert abs(float(x.std()) / found.std[k] - 1) < 4 / np.sqrt(2 * count)


@records.record
class Noisy(sampling.Sampler):
    """DDIM plus what `draw` makes of the noise of a step."""

    draw: object = records.static()

    def step(self, noise, denoise, state, level, cleaner, left):
        return sampling.State(ancestral.ddim_step(denoise(state.x, level), level, cleaner) + self.draw(noise, state.x))


def in_parts(noise, x):
    return sum(k * noise(x, k) for k in (1, 2, 3))


def used_twice(noise, x):
    drawn = noise(x)
    return drawn + 0.5 * drawn


@pytest.mark.float64
@pytest.mark.parametrize(("draw", "variance"), [(in_parts, 1 + 4 + 9), (used_twice, 2.25)])
def test_draws_are_told_apart_by_their_keys(draw, variance):
    """Each of a step's draws counts by its square; one draw used twice is one draw."""

    def step(level, cleaner):
        k, m, p, q = told(level)
        return cleaner.alpha * k + cleaner.sigma * p, cleaner.alpha * m + cleaner.sigma * q, variance

    found, (mean, std) = law(Noisy(draw)), recursion(step)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, std, rtol=1e-12)


def deep(noise, x):
    return noise(x, (1, 2))


def squared(noise, x):
    return noise(x) ** 2


def scaled_by_x(noise, x):
    return x * noise(x)


@pytest.mark.float64
@pytest.mark.parametrize("draw", [deep, squared, scaled_by_x])
def test_noise_that_cannot_be_read_off_is_refused(draw):
    with pytest.raises(gaussian_law.NoLawError, match="noise is no sum"):
        law(Noisy(draw))


@pytest.mark.float64
def test_a_step_that_is_not_affine_in_x_is_refused():
    with pytest.raises(gaussian_law.NoLawError, match="affine"):
        law(Noisy(lambda noise, x: 0.1 * jnp.sin(x)))


@pytest.mark.float64
def test_one_compile_serves_every_number_of_steps():
    traces = []

    def counted(noise, x):
        traces.append(None)
        return noise(x)

    sampler = Noisy(counted)
    law(sampler)
    before = len(traces)
    for steps in (1, 3, STEPS):
        law(sampler, steps)
    assert len(traces) == before
