"""DEIS: the integrals of its Lagrange polynomials by quadrature, published end values, and its relation to other methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from gendiff.diffusion import grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.samplers.deis import deis as solver
from gendiff.diffusion.samplers.dpm_solver_multistep import STARTS
from gendiff.diffusion.types import Prediction
from tests.diffusion.samplers import even_grid, peer_trajectory

MIXTURE = oracles.mixture([0.3, 0.7], np.random.default_rng(1).normal(size=(2, 3)), [0.4, 0.6])
START = np.random.default_rng(0).normal(size=(2, 3))


@jax.jit
def run(sampler, grid, start):
    return sampling.sample(jax.random.key(0), MIXTURE, sampler, grid, (3,), jnp.arange(2), start=start, trajectory=True)


def by_hand(grid, start, order, variable):
    """x/alpha gains, for each prediction, the integral of its Lagrange polynomial over sigma/alpha (Zhang & Chen, 2023, Secs. 3-4)."""
    alpha, ratio = np.asarray(grid.alpha), np.asarray(grid.sigma / grid.alpha)
    place = np.log if variable == "log_ratio" else np.asarray
    x, seen, states = start, [], [start]
    for j in range(len(alpha) - 1):
        seen.insert(0, np.asarray(MIXTURE(x, grid[j]).noise))
        nodes = place(ratio[j::-1][:order])

        def lagrange(r, i, nodes=nodes):
            return np.prod([(place(r) - other) / (nodes[i] - other) for k, other in enumerate(nodes) if k != i])

        gains = [quad(lagrange, ratio[j], ratio[j + 1], args=(i,), epsrel=1e-12, epsabs=0)[0] for i in range(len(nodes))]
        x = alpha[j + 1] * (x / alpha[j] + sum(g * e for g, e in zip(gains, seen, strict=False)))
        states.append(x)
    return np.stack(states)


@pytest.mark.float64
@pytest.mark.parametrize("variable", ["log_ratio", "ratio"])
def test_steps_integrate_the_lagrange_polynomials(variable):
    grid = grids.karras(schedules.edm(), 6, end="first")
    found = run(solver(4, variable=variable, start="plain"), grid, 80 * START)
    np.testing.assert_allclose(found, by_hand(grid, 80 * START, 4, variable), rtol=1e-8, atol=1e-9)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("kind", "mean", "digit"),
    [(parameterization.noise, 0.23916, 5e-6), (parameterization.velocity, 0.091, 5e-4)],
    ids=["noise", "velocity"],
)
def test_second_order_reaches_the_published_means(kind, mean, digit):
    found = peer_trajectory.end(solver(2, lower_order_final=True), peer_trajectory.linspace(), kind)
    assert found.mean() == pytest.approx(mean, abs=1.1 * digit)


@pytest.mark.float64
@pytest.mark.parametrize("variable", ["log_ratio", "ratio"])
def test_the_corrected_start_does_not_amplify_noise(variable):
    """The cosine table starts at sigma/alpha = 20291: there the first step is corrected by clean predictions."""
    table = schedules.cosine()
    exact = run(solver(3), grids.trailing(table, 500), START)[-1]
    errors = [np.abs(run(solver(3, variable=variable, start=s), grids.trailing(table, 8), START)[-1] - exact).max() for s in STARTS]
    assert errors[1] < errors[0] < 0.3


@pytest.mark.float64
@pytest.mark.parametrize("variable", ["log_ratio", "ratio"])
def test_a_noise_prediction_linear_in_the_variable_is_integrated_exactly(variable):
    """∫ (0.3 + 0.7 v) dr with v = r or log r, r = sigma/alpha, from the second step on: the first knows no slope."""

    def denoise(x, level):
        ratio = level.sigma / level.alpha
        noise = jnp.full_like(x, 0.3) + 0.7 * (jnp.log(ratio) if variable == "log_ratio" else ratio)
        return Prediction((x - level.sigma * noise) / level.alpha, noise)

    @jax.jit
    def drawn(sampler, grid):
        return sampling.sample(jax.random.key(0), denoise, sampler, grid, (3,), jnp.arange(2), start=START, trajectory=True)

    grid = even_grid.levels(4)
    found = np.asarray(drawn(solver(3, variable=variable, start="plain"), grid))[1:]
    r = np.asarray(grid.sigma / grid.alpha)[1:]
    primitive = 0.3 * r + 0.7 * (r * np.log(r) - r if variable == "log_ratio" else r**2 / 2)
    alpha = np.asarray(grid.alpha)[1:, None, None]
    expected = alpha * (found[0] / alpha[0] + (primitive - primitive[0])[:, None, None])
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.float64
def test_first_order_is_ddim():
    for variable in ("log_ratio", "ratio"):
        for schedule in (schedules.cosine(), schedules.flow(), schedules.edm()):
            grid = grids.trailing(schedule, 4)
            np.testing.assert_allclose(run(solver(1, variable=variable), grid, START), run(ancestral.ddim(), grid, START), rtol=1e-11)


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda: solver(0), "order"),
        (lambda: solver(5), "order"),
        (lambda: solver(3, variable="t"), "variable"),
        (lambda: solver(3, start="first"), "start"),
    ],
)
def test_impossible_settings_are_refused_by_name(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake()
