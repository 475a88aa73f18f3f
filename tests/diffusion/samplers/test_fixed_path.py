"""Noise from one Brownian path a sample: increments, strong convergence on Gaussian data, and independence of grid and batch."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers import ancestral, predictor_corrector
from gendiff.diffusion.samplers.euler_ancestral import euler_ancestral
from gendiff.diffusion.samplers.fixed_path import LATEST, fixed_path, increments, time
from gendiff.diffusion.samplers.fixed_path import paths as fixed_path_paths
from gendiff.diffusion.types import Level

pytest.importorskip("diffrax")
KEY = jax.random.key(3)
SAMPLERS = {
    "ddpm": ancestral.ddpm(),
    "ddim": ancestral.ddim(0.6),
    "euler ancestral": euler_ancestral(),
}
LONGEST = 512


@jax.jit
def draw(sampler, levels, index, num_steps=None):
    return sampling.sample(KEY, oracles.gaussian(0.5, 0.2), sampler, levels, (2,), index, num_steps=num_steps)


def levels_of(*ratios):
    return [Level(0.0, 1.0, ratio) for ratio in ratios]


def test_increments_are_standard_normal_independent_and_add_up():
    a, b, c = levels_of(5.0, 1.0, 0.2)
    paths, like = fixed_path_paths(jax.random.split(jax.random.key(1), 500)), jnp.zeros((500, 40))
    walk = jax.jit(increments)
    first, second, whole = walk(paths, a, b, like), walk(paths, b, c, like), walk(paths, a, c, like)
    for noise in (first, second, whole):
        assert abs(float(jnp.mean(noise))) < 4 / np.sqrt(20000)
        assert abs(float(jnp.var(noise)) - 1) < 4 * np.sqrt(2 / 20000)
    assert abs(float(jnp.mean(first * second))) < 4 / np.sqrt(20000)
    early, late = (time(end, like) - time(start, like) for start, end in ((a, b), (b, c)))
    np.testing.assert_allclose(jnp.sqrt(early) * first + jnp.sqrt(late) * second, jnp.sqrt(early + late) * whole, atol=2e-5)


def test_time_runs_from_pure_noise_to_clean_within_bounds():
    grid = grids.trailing(schedules.zero_terminal_snr(schedules.linear()), 1000)
    times = np.asarray(time(grid, jnp.zeros(1)))
    assert times[0] == 0 and times[-1] == pytest.approx(LATEST) and np.all(np.diff(times) > 0)
    for schedule in (schedules.edm(), schedules.flow()):
        level = schedule.at_log_snr(jnp.float32(0.5))
        assert float(time(level, jnp.zeros(1))) == pytest.approx(np.log1p(np.exp(0.5)), rel=1e-6)


def test_no_noise_between_equal_levels_and_none_from_clean_to_clean():
    paths, like = fixed_path_paths(jax.random.split(jax.random.key(1), 2)), jnp.ones((2, 3))
    for level in levels_of(0.7, 0.0):
        np.testing.assert_array_equal(increments(paths, level, level, like), 0.0)


@pytest.mark.float64
@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_converge_at_order_one_along_their_path(name):
    """Root mean square distance of end points with n and 2n steps, between two levels of a flow."""
    sampler, schedule = fixed_path(SAMPLERS[name], tolerance=1e-7), schedules.flow()

    def ends(steps):
        levels = grids.log_snr(schedule, steps, sigma_min=0.05, sigma_max=20.0, end="first")
        return draw(sampler, grids.padded(levels, LONGEST), jnp.arange(64), jnp.asarray(steps))

    found = [ends(steps) for steps in (32, 64, 128, 256, 512)]
    errors = [np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(found, found[1:], strict=False)]
    order = -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]
    assert 0.85 < order < 1.2, (order, errors)
    fresh = [
        draw(SAMPLERS[name], grids.log_snr(schedule, n, sigma_min=0.05, sigma_max=20.0, end="first"), jnp.arange(64)) for n in (64, 128)
    ]
    assert np.sqrt(np.mean((fresh[0] - fresh[1]) ** 2)) > 10 * errors[-1], "without a path, more steps draw another sample"


def test_samples_along_paths_have_the_spread_of_the_data():
    found = draw(fixed_path(ancestral.ddpm()), grids.trailing(schedules.flow(), 100), jnp.arange(4000))
    assert abs(float(jnp.mean(found)) - 0.2) < 4 * 0.5 / np.sqrt(8000)
    assert float(jnp.std(found)) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(16000) + 0.01)


def test_a_path_depends_neither_on_neighbours_nor_on_padding_and_differs_from_others():
    sampler, levels = fixed_path(ancestral.ddpm()), grids.trailing(schedules.cosine(), 4)
    three = draw(sampler, levels, jnp.array([4, 1, 7]))
    np.testing.assert_allclose(three[2:], draw(sampler, levels, jnp.array([7])), atol=5e-6)
    np.testing.assert_allclose(draw(sampler, grids.padded(levels, 6), jnp.array([4, 1, 7]), jnp.asarray(4)), three, atol=5e-6)
    assert np.abs(three[0] - three[1]).min() > 1e-3


def test_gradients_pass_a_path_by():
    sampler, levels = fixed_path(ancestral.ddpm()), grids.trailing(schedules.flow(), 3)

    def total(std, levels):
        x = sampling.sample(KEY, oracles.Gaussian(std), sampler, levels, (2,), jnp.arange(2))
        return jnp.sum(x**2)

    found = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(0.5, levels)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)) and float(found[1][0]) != 0


def test_samplers_that_cannot_be_told_their_noise_are_refused():
    levels, several = grids.trailing(schedules.flow(), 2), predictor_corrector()
    with pytest.raises(TypeError, match="several times per step"):
        draw(fixed_path(several), levels, jnp.arange(2))
    for build in (fixed_path, predictor_corrector):
        with pytest.raises(TypeError, match="own source of noise"):
            build(fixed_path(ancestral.ddpm()))
    with pytest.raises(ValueError, match="tolerance"):
        fixed_path(ancestral.ddpm(), tolerance=0.0)
    build = fixed_path
    assert build(ancestral.ddpm()) == build(ancestral.ddpm()) and build(ancestral.ddpm()) != build(ancestral.ddpm("large"))
    assert build(ancestral.ddpm()).evaluations(7) == 7


def test_without_diffrax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"extra \[ode\]"):
        fixed_path(ancestral.ddpm())
