"""DPM-Solver++ single-step: its published stages written out, and what its noises do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.samplers.dpm_solver_single import dpm_solver_single
from gendiff.diffusion.types import Level

FLOW = schedules.flow()
MIXTURE = oracles.mixture([0.3, 0.7], np.random.default_rng(1).normal(size=(2, 3)), [0.4, 0.6])
START = np.random.default_rng(0).normal(size=(2, 3))
solver = functools.partial(dpm_solver_single, FLOW)


@jax.jit
def run(sampler, grid, start):
    return sampling.sample(jax.random.key(0), MIXTURE, sampler, grid, (3,), jnp.arange(2), start=start)


def on_flow(position):
    """The level of the flow schedule at this half log-SNR."""
    sigma = 1 / (1 + np.exp(position))
    return Level(1000 * sigma, 1 - sigma, sigma)


def clean(x, level):
    return np.asarray(MIXTURE(x, level).clean)


def second(x, here, h):
    """u = (sigma_s/sigma) x - alpha_s (e^(-h/2) - 1) c; x' = (sigma'/sigma) x - alpha' (e^-h - 1) c_s (Lu et al., 2022b, Alg. 1)."""
    level, middle, end = (on_flow(here + share * h) for share in (0, 0.5, 1))
    u = middle.sigma / level.sigma * x - middle.alpha * np.expm1(-h / 2) * clean(x, level)
    return end.sigma / level.sigma * x - end.alpha * np.expm1(-h) * clean(u, middle)


def third(x, here, h):
    """Lu et al., 2022a, Alg. 2, with the data prediction: r1 = 1/3, r2 = 2/3."""
    level, early, late, end = (on_flow(here + share * h) for share in (0, 1 / 3, 2 / 3, 1))
    c = clean(x, level)
    u = early.sigma / level.sigma * x - early.alpha * np.expm1(-h / 3) * c
    d1 = clean(u, early) - c
    u = late.sigma / level.sigma * x - late.alpha * np.expm1(-2 * h / 3) * c
    d2 = clean(u + late.alpha * 2 * (np.expm1(-2 * h / 3) / (2 * h / 3) + 1) * d1, late) - c
    return end.sigma / level.sigma * x - end.alpha * np.expm1(-h) * c + 1.5 * end.alpha * (np.expm1(-h) / h + 1) * d2


@pytest.mark.float64
@pytest.mark.parametrize(("order", "by_hand"), [(2, second), (3, third)])
def test_steps_are_the_published_stages(order, by_hand):
    positions = [-2.0, -1.2, 0.7, 1.1]
    grid = jax.tree.map(lambda *fields: jnp.array(fields), *map(on_flow, positions))
    x = START
    for here, there in zip(positions, positions[1:], strict=False):
        x = by_hand(x, here, there - here)
    np.testing.assert_allclose(run(solver(order), grid, START), x, rtol=1e-11, atol=1e-13)


def test_first_order_is_ddim():
    grid = grids.trailing(schedules.cosine(), 5)
    for eta in (0.0, 1.0):
        np.testing.assert_allclose(run(solver(1, eta=eta), grid, START), run(ancestral.ddim(eta), grid, START), atol=5e-6)


@pytest.mark.float64
def test_noises_of_a_step_lie_on_one_path():
    """With a constant prediction, the noise at the middle, carried on, and that of the second half make the noise at the end."""
    eta, point = 0.7, oracles.gaussian(0.0)
    levels = [on_flow(position) for position in (-1.0, -0.2, 0.6)]
    seen = []

    def denoise(x, level):
        seen.append(np.asarray(x))
        return point(x, level)

    noise = sampling.KeyNoise(jax.random.split(jax.random.key(3), 2))
    step = dpm_solver_single(FLOW, 2, eta=eta).step
    with jax.disable_jit():
        end = step(noise, denoise, sampling.State(jnp.asarray(START)), levels[0], levels[2], 0).x
    late = np.asarray(noise(jnp.asarray(START), 2))
    kept = np.exp(-(eta**2) * 0.8)
    expected = levels[2].sigma * (kept * seen[1] / levels[1].sigma + np.sqrt(1 - kept**2) * late)
    np.testing.assert_allclose(end, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("mistake", "named"),
    [(lambda: solver(0), "order"), (lambda: solver(4), "order"), (lambda: solver(2, eta=-1.0), "eta"), (lambda: solver(3, eta=1.0), "eta")],
)
def test_impossible_settings_are_refused_by_name(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake()
