"""Euler, Heun and RK4 on the probability flow: closed products on Gaussian data, the peers' test trajectory, evaluations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.types import Level, Prediction


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


# Heun and the fourth-order method.

COSINE = schedules.cosine()
HIGHER = {"heun": runge_kutta.heun(), "rk4": runge_kutta.rk4(COSINE)}


def counted(denoise, seen):
    """The denoiser, which writes down each time that it is asked while the program runs."""

    def ask(x, level):
        jax.debug.callback(lambda: seen.append(1))
        return denoise(x, level)

    return ask


@pytest.mark.float64
def test_heun_on_gaussian_data_is_the_trapezoid_product_with_euler_at_the_end():
    """alpha = 1 and sigma <= 1: x grows by 1 + h (f + f' (1 + h f)) / 2, f = sigma / (s² + sigma²), and by 1 + h f at last."""
    s, levels = 0.5, grids.karras(schedules.edm(sigma_max=1.0), 12)
    sigma = np.asarray(levels.sigma)
    f, h = sigma / (s**2 + sigma**2), np.diff(sigma)
    factors = 1 + h * (f[:-1] + f[1:] * (1 + h * f[:-1])) / 2
    factors[-1] = 1 + h[-1] * f[-2]
    x = rand(0, 2, 3)
    np.testing.assert_allclose(run(oracles.gaussian(s), runge_kutta.heun(), levels, x), np.prod(factors) * x, rtol=1e-11)


@pytest.mark.float64
def test_heun_is_the_trapezoid_in_x_over_sigma_where_noise_prevails():
    level, cleaner, gaussian = Level(900.0, 0.1, np.sqrt(0.99)), Level(700.0, 0.4, np.sqrt(0.84)), oracles.gaussian(0.5, 0.3)
    x, width = rand(0, 2, 3), cleaner.alpha / cleaner.sigma - level.alpha / level.sigma
    first = gaussian(x, level).clean
    aimed = cleaner.sigma * (x / level.sigma + width * first)
    expected = cleaner.sigma * (x / level.sigma + width * (first + gaussian(aimed, cleaner).clean) / 2)
    np.testing.assert_allclose(runge_kutta.heun_step(gaussian, jnp.asarray(x), level, cleaner), expected, rtol=1e-12)


@pytest.mark.float64
@pytest.mark.parametrize(("first", "last"), [(0.9, 0.3), (5.0, 0.8)], ids=["x/alpha", "x/sigma"])
def test_rk4_is_the_classical_method_in_the_form_of_its_half(first, last):
    gaussian, x = oracles.gaussian(0.5, 0.3), rand(0, 2, 3)
    if first <= 1:

        def slope(time, y):
            return np.asarray(gaussian(jnp.asarray(y), Level(0.0, 1.0, time)).noise)

        times, start, unit = (first, last), x, 1.0
    else:

        def slope(time, y):
            return np.asarray(gaussian(jnp.asarray(y / time), Level(0.0, 1.0, 1 / time)).clean)

        times, start, unit = (1 / first, 1 / last), x / first, last
    h, middle = times[1] - times[0], sum(times) / 2
    k1 = slope(times[0], start)
    k2 = slope(middle, start + h / 2 * k1)
    k3 = slope(middle, start + h / 2 * k2)
    expected = unit * (start + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(times[1], start + h * k3)))
    for schedule in (schedules.edm(), COSINE, schedules.flow()):  # only the network's t depends on the schedule
        found = runge_kutta.rk4_step(gaussian, jnp.asarray(x), Level(0.0, 1.0, first), Level(0.0, 1.0, last), schedule)
        np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.float64
@pytest.mark.parametrize("name", HIGHER)
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_higher_methods_are_exact_for_a_point_mass_in_any_number_of_steps(steps, name):
    start = rand(0, 2, 3)
    levels = grids.trailing(schedules.zero_terminal_snr(schedules.linear()), steps, end="first")
    first, last = levels[0], levels[-1]
    found = run(oracles.gaussian(0.0, 0.7), HIGHER[name], levels, start)
    np.testing.assert_allclose(found, last.alpha * 0.7 + last.sigma * (start - first.alpha * 0.7) / first.sigma, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", HIGHER)
def test_stated_evaluations_are_those_made_when_the_grid_ends_clean_whether_or_not_the_count_is_traced(name):
    seen, sampler = [], HIGHER[name]
    denoise = counted(oracles.gaussian(0.5), seen)
    levels, x = grids.padded(grids.trailing(COSINE, 3), 5), jnp.ones((2, 3))

    def draw(levels, steps):
        return sampling.sample(jax.random.key(0), denoise, sampler, levels, (3,), jnp.arange(2), num_steps=steps, start=x)

    def cost(levels, steps, compiled):
        seen.clear()
        jax.block_until_ready(compiled(levels, steps))
        jax.effects_barrier()
        return len(seen)

    traced, each = jax.jit(draw), sampler.evaluations(2) - sampler.evaluations(1)
    assert cost(levels, 3, traced) == cost(levels, 3, jax.jit(draw, static_argnums=1)) == sampler.evaluations(3)
    assert cost(levels, 1, traced) == each, "a count that ends before the grid does: the last step is one like any other"
    assert cost(levels[jnp.array([0, 1, 2, 2, 2, 2])], 2, traced) == 2 * each, "a grid that ends at sigma > 0"
    assert [sampler.evaluations(n) for n in (1, 2, 50)] == [1, 1 + each, 1 + 49 * each]


@pytest.mark.parametrize("name", HIGHER)
def test_a_vmapped_count_gives_the_same_samples(name):
    levels, gaussian, x = grids.padded(grids.trailing(COSINE, 3), 4), oracles.gaussian(0.5, 0.2), jnp.ones((2, 3))

    def draw(steps):
        return sampling.sample(jax.random.key(0), gaussian, HIGHER[name], levels, (3,), jnp.arange(2), num_steps=steps, start=x)

    mapped, alone = jax.vmap(draw)(jnp.array([3, 1, 2])), jax.jit(draw)
    for found, steps in zip(mapped, (3, 1, 2), strict=True):
        np.testing.assert_allclose(found, alone(steps), atol=5e-6)


@pytest.mark.parametrize("name", HIGHER)
def test_steps_from_zero_signal_and_to_clean_are_finite_and_so_are_their_gradients(name):
    """A network that answers the clean sample has no noise prediction at sigma = 0: it must not be asked there, under vmap either."""
    schedule = schedules.flow()
    sampler = runge_kutta.heun() if name == "heun" else runge_kutta.rk4(schedule)

    def total(gain, x, levels):
        told = denoiser.from_network(lambda gain, x, t: jnp.tanh(gain * x + 0.02 * t[:, None]), gain, parameterization.clean())
        return jnp.sum(sampler.step(None, told, sampling.State(x), levels[0], levels[1], 0).x ** 2)

    both = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    only, three = grids.trailing(schedule, 1), grids.trailing(schedule, 3)
    pairs = only, three[:2], three[1:3], three[2:]
    alone = [both(0.7, jnp.ones((2, 2)), pair) for pair in pairs]
    stacked = jax.tree.map(lambda *fields: jnp.stack(fields), *pairs)
    together = jax.vmap(both, in_axes=(None, None, 0))(0.7, jnp.ones((2, 2)), stacked)
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    for found, leaf in zip(jax.tree.leaves(together), jax.tree.leaves(expected), strict=True):
        assert np.all(np.isfinite(leaf))
        np.testing.assert_allclose(found, leaf, rtol=1e-4, atol=1e-4)
