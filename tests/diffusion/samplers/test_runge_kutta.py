"""Euler, Heun and RK4 on the probability flow: closed products on Gaussian data, the classical formulas,
evaluations.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import runge_kutta
from gendiff.diffusion.types import Level
from tests.diffusion.samplers.draws import START, rand, trajectory
from tests.quickly import quickly

COSINE = schedules.cosine()
HIGHER = {"heun": runge_kutta.heun(), "rk4": runge_kutta.rk4(COSINE)}
each_higher = pytest.mark.parametrize("sampler", HIGHER.values(), ids=HIGHER.keys())


@pytest.mark.float64
def test_euler_and_heun_on_gaussian_data_are_the_published_products():
    """With f = sigma / (s² + sigma²), alpha = 1: 1 + h f; and for Heun below alpha 1 + h (f + f' (1 + h f)) / 2 until
    the last step.
    """
    for sigma_max in (1.0, 80.0):
        levels = grids.karras(schedules.edm(sigma_max=sigma_max), 18)
        sigma = np.asarray(levels.sigma)
        f, h = sigma / (0.5**2 + sigma**2), np.diff(sigma)
        result = trajectory(runge_kutta.euler(), levels, START, oracles.gaussian(0.5))[-1]
        np.testing.assert_allclose(result, np.prod(1 + h * f[:-1]) * START, rtol=1e-9)
        if sigma_max == 1:
            factors = np.append(1 + h * (f[:-1] + f[1:] * (1 + h * f[:-1])) / 2, 1 + h[-1] * f[-2])
            result = trajectory(runge_kutta.heun(), levels, START, oracles.gaussian(0.5))[-1]
            np.testing.assert_allclose(result, np.prod(np.delete(factors, -2)) * START, rtol=1e-11)


@pytest.mark.float64
def test_endpoint_error_is_measured_between_the_stated_levels():
    """Euler on Gaussian data from sigma/alpha = 20 to 0.05 even in log-SNR: known factors, for starts within two
    deviations.
    """
    s, steps = 0.5, 40
    ratio = np.geomspace(20, 0.05, steps + 1)
    alpha = 1 / np.sqrt(1 + ratio**2)
    factor = np.prod(1 + np.diff(ratio) * ratio[:-1] / (s**2 + ratio[:-1] ** 2)) * alpha[-1] / alpha[0]
    exact = np.sqrt((s**2 + ratio[-1] ** 2) / (s**2 + ratio[0] ** 2)) * alpha[-1] / alpha[0]
    start = np.linspace(-2, 2, 65) * alpha[0] * np.sqrt(s**2 + ratio[0] ** 2)
    expected = np.sqrt(np.mean(((factor - exact) * start) ** 2))
    assert oracles.gaussian(s).endpoint_error(runge_kutta.euler(), steps) == pytest.approx(expected, rel=1e-6)


@pytest.mark.float64
def test_heun_is_the_trapezoid_in_x_over_sigma_where_noise_prevails():
    level, cleaner, gaussian = (
        Level(900.0, 0.1, np.sqrt(0.99)),
        Level(700.0, 0.4, np.sqrt(0.84)),
        oracles.gaussian(0.5, 0.3),
    )
    x, width = rand(0, 2, 3), cleaner.alpha / cleaner.sigma - level.alpha / level.sigma
    first = gaussian(x, level).clean
    aimed = cleaner.sigma * (x / level.sigma + width * first)
    expected = cleaner.sigma * (x / level.sigma + width * (first + gaussian(aimed, cleaner).clean) / 2)
    np.testing.assert_allclose(runge_kutta.heun_step(gaussian, jnp.asarray(x), level, cleaner), expected, rtol=1e-12)


@pytest.mark.float64
@pytest.mark.parametrize(("first", "last"), [(0.9, 0.3), (5.0, 0.8)], ids=["x/alpha", "x/sigma"])
def test_rk4_is_the_classical_method_in_the_form_of_its_half(first, last):
    gaussian, x = oracles.gaussian(0.5, 0.3), rand(0, 2, 3)

    def slope(time, y):
        if first <= 1:
            return np.asarray(gaussian(jnp.asarray(y), Level(0.0, 1.0, time)).noise)
        return np.asarray(gaussian(jnp.asarray(y / time), Level(0.0, 1.0, 1 / time)).clean)

    times, start, unit = ((first, last), x, 1.0) if first <= 1 else ((1 / first, 1 / last), x / first, last)
    h, middle = times[1] - times[0], sum(times) / 2
    k1 = slope(times[0], start)
    k2 = slope(middle, start + h / 2 * k1)
    k3 = slope(middle, start + h / 2 * k2)
    expected = unit * (start + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(times[1], start + h * k3)))
    for schedule in (schedules.edm(), COSINE, schedules.flow()):  # only the network's t depends on the schedule
        result = runge_kutta.rk4_step(gaussian, jnp.asarray(x), Level(0.0, 1.0, first), Level(0.0, 1.0, last), schedule)
        np.testing.assert_allclose(result, expected, rtol=1e-11)


@pytest.mark.float64
@each_higher
def test_higher_methods_are_exact_for_a_point_mass_in_any_number_of_steps(sampler):
    for steps in (1, 3, 20):
        levels = grids.trailing(schedules.zero_terminal_snr(schedules.linear()), steps, end="first")
        first, last = levels[0], levels[-1]
        expected = last.alpha * 0.7 + last.sigma * (START - first.alpha * 0.7) / first.sigma
        result = trajectory(sampler, levels, START, oracles.gaussian(0.0, 0.7))[-1]
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10)


@each_higher
def test_stated_evaluations_are_those_made_when_the_grid_ends_clean_whether_or_not_the_count_is_traced(sampler):
    calls, levels, each = (
        [],
        grids.padded(grids.trailing(COSINE, 3), 5),
        sampler.evaluations(2) - sampler.evaluations(1),
    )

    def denoise(x, level):
        jax.debug.callback(lambda: calls.append(1))
        return oracles.gaussian(0.5)(x, level)

    def draw(levels, steps):
        return sampling.sample(jax.random.key(0), denoise, sampler, levels, (3,), jnp.arange(2), num_steps=steps)

    def cost(levels, steps, compiled):
        calls.clear()
        jax.block_until_ready(compiled(levels, steps))
        jax.effects_barrier()
        return len(calls)

    traced = jax.jit(draw)
    assert cost(levels, 3, traced) == cost(levels, 3, jax.jit(draw, static_argnums=1)) == sampler.evaluations(3)
    assert cost(levels, 1, traced) == each, (
        "a count that ends before the grid does: the last step is one like any other"
    )
    assert cost(levels[jnp.array([0, 1, 2, 2, 2, 2])], 2, traced) == 2 * each, "a grid that ends at sigma > 0"
    assert [sampler.evaluations(n) for n in (1, 2, 50)] == [1, 1 + each, 1 + 49 * each]


@pytest.mark.parametrize("sampler", [runge_kutta.heun(), runge_kutta.rk4(schedules.flow())], ids=["heun", "rk4"])
def test_steps_from_zero_signal_and_to_clean_are_finite_and_so_are_their_gradients(sampler):
    """A network that predicts the clean sample has no noise prediction at sigma = 0: it must not be asked there, under
    vmap either.
    """

    noise = sampling.KeyNoise(jax.random.split(jax.random.key(0), 2))

    def total(gain, x, levels):
        denoise = denoiser.from_network(
            lambda gain, x, t: jnp.tanh(gain * x + 0.02 * t[:, None]), gain, parameterization.clean()
        )
        return jnp.sum(sampler.step(noise, denoise, sampling.State(x), levels[0], levels[1], 0).x ** 2)

    both = functools.partial(quickly(jax.value_and_grad(total, argnums=(0, 1, 2))), 0.7, jnp.ones((2, 2)))
    three = grids.trailing(schedules.flow(), 3)
    pairs = grids.trailing(schedules.flow(), 1), three[:2], three[1:3], three[2:]
    together = jax.vmap(both)(jax.tree.map(lambda *fields: jnp.stack(fields), *pairs))
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(both, pairs))
    for result, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        assert np.all(np.isfinite(expected))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
