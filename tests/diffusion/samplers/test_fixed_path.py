"""Noise from one Brownian path per sample: increments, strong convergence on Gaussian data, and independence of grid
and batch.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers import ancestral, predictor_corrector
from gendiff.diffusion.samplers.euler_ancestral import euler_ancestral
from gendiff.diffusion.samplers.fixed_path import LATEST, fixed_path, increments, paths, time
from gendiff.diffusion.types import Level
from tests.quickly import in_numpy

pytest.importorskip("diffrax")
DDPM = ancestral.ddpm()


@jax.jit
def draw(sampler, levels, index, num_steps=None):
    return sampling.sample(
        jax.random.key(3), oracles.gaussian(0.5, 0.2), sampler, levels, (2,), index, num_steps=num_steps
    )


def test_increments_are_standard_normal_independent_and_add_up():
    a, b, c, clean = (Level(0.0, 1.0, ratio) for ratio in (5.0, 1.0, 0.2, 0.0))
    walks, like = paths(jax.random.split(jax.random.key(1), 500)), jnp.zeros((500, 40))
    walk = in_numpy(increments)
    first, second, full = walk(walks, a, b, like), walk(walks, b, c, like), walk(walks, a, c, like)
    for noise in (first, second, full):
        assert abs(noise.mean()) < 4 / np.sqrt(20000)
        assert abs(noise.var() - 1) < 4 * np.sqrt(2 / 20000)
    assert abs(np.mean(first * second)) < 4 / np.sqrt(20000)
    early, late = (np.asarray(time(end, like)) - np.asarray(time(start, like)) for start, end in ((a, b), (b, c)))
    np.testing.assert_allclose(np.sqrt(early) * first + np.sqrt(late) * second, np.sqrt(early + late) * full, atol=2e-5)
    for level in (b, clean):
        np.testing.assert_array_equal(walk(walks, level, level, like), 0.0)


def test_time_runs_from_pure_noise_to_clean_within_bounds():
    levels = grids.trailing(schedules.zero_terminal_snr(schedules.linear()), 1000)
    times = np.asarray(time(levels, jnp.zeros(1)))
    assert times[0] == 0 and times[-1] == pytest.approx(LATEST) and np.all(np.diff(times) > 0)
    for schedule in (schedules.edm(), schedules.flow()):
        level = schedule.at_log_snr(jnp.float32(0.5))
        assert float(time(level, jnp.zeros(1))) == pytest.approx(np.log1p(np.exp(0.5)), rel=1e-6)


@pytest.mark.float64
@pytest.mark.parametrize(
    "sampler",
    [
        DDPM,
        pytest.param(ancestral.ddim(0.6), marks=pytest.mark.slow),
        pytest.param(euler_ancestral(), marks=pytest.mark.slow),
    ],
    ids=["ddpm", "ddim", "euler ancestral"],
)
def test_samples_converge_at_order_one_along_their_path(sampler):
    """Root mean square distance of end points with n and 2n steps, between two levels of a flow."""

    def ends(steps, sampler, longest):
        levels = grids.log_snr(schedules.flow(), steps, sigma_min=0.05, sigma_max=20.0, end="first")
        return draw(sampler, grids.padded(levels, longest), jnp.arange(64), jnp.asarray(steps))

    results = [ends(steps, fixed_path(sampler, tolerance=1e-7), 256) for steps in (32, 64, 128, 256)]
    errors = [np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(results, results[1:], strict=False)]
    order = -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]
    assert 0.85 < order < 1.2, (order, errors)
    coarse, fine = (ends(steps, sampler, 128) for steps in (64, 128))
    assert np.sqrt(np.mean((coarse - fine) ** 2)) > 5 * errors[-1], "without a path, more steps draw another sample"


def test_samples_along_paths_have_the_spread_of_the_data():
    result = np.asarray(draw(fixed_path(DDPM), grids.trailing(schedules.flow(), 30), np.arange(500)))
    assert abs(result.mean() - 0.2) < 4 * 0.5 / np.sqrt(1000)
    assert result.std() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2000) + 0.015)


def test_samplers_whose_noise_has_another_source_are_refused():
    with pytest.raises(TypeError, match="several times per step"):
        draw(fixed_path(predictor_corrector()), grids.trailing(schedules.flow(), 2), jnp.arange(2))
    for make in (fixed_path, predictor_corrector):
        with pytest.raises(TypeError, match="own source of noise"):
            make(fixed_path(DDPM))
    assert fixed_path(DDPM) == fixed_path(ancestral.ddpm()) and fixed_path(DDPM) != fixed_path(ancestral.ddpm("large"))
    assert fixed_path(DDPM).evaluations(7) == 7


def test_without_diffrax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"extra \[ode\]"):
        fixed_path(DDPM)
