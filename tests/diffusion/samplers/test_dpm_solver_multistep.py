"""DPM-Solver++ multistep: its published steps written out, and what its history and last steps do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import arrays
from gendiff.diffusion import grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.samplers.dpm_solver_multistep import dpm_solver_multistep
from gendiff.diffusion.types import Prediction
from tests.diffusion.samplers import even_grid, peer_trajectory

solver = dpm_solver_multistep
START = np.random.default_rng(0).normal(size=(2, 3))
MIXTURE = oracles.mixture([0.3, 0.7], np.random.default_rng(1).normal(size=(2, 3)), [0.4, 0.6])


@functools.partial(jax.jit, static_argnames="denoise")
def _trajectory(denoise, sampler, grid, start, steps=None):
    index = jnp.arange(len(start))
    return sampling.sample(jax.random.key(0), denoise, sampler, grid, start.shape[1:], index, start=start, trajectory=True, num_steps=steps)


def mixture(x, level):
    return MIXTURE(x, level)


def trajectory(sampler, grid, start=START, denoise=mixture, steps=None):
    return np.asarray(_trajectory(denoise, sampler, grid, jnp.asarray(start), steps))


def by_hand(grid, start, formula, eta=0.0):
    """The published recursions in NumPy, the noise drawn by the library's rule for keys."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(len(start)))
    alpha, sigma = np.asarray(grid.alpha), np.asarray(grid.sigma)
    position = np.log(alpha / np.maximum(sigma, 1e-300))
    x, seen, states = start, [], [start]
    for j in range(len(grid) - 1):
        seen.insert(0, np.asarray(MIXTURE(x, grid[j]).clean))
        if sigma[j + 1] == 0:
            x = seen[0]
        else:
            h, *past = (position[j + 1 - k] - position[j - k] for k in range(min(j + 1, 3)))
            e = np.expm1(-(1 + eta**2) * h)
            noise = np.asarray(arrays.normal(arrays.fold_in(keys, j + 1), jnp.asarray(start)))
            x = sigma[j + 1] / sigma[j] * np.exp(-(eta**2) * h) * x - alpha[j + 1] * e * seen[0]
            x = x + alpha[j + 1] * formula(h, e, past, seen) + sigma[j + 1] * np.sqrt(-np.expm1(-2 * eta**2 * h)) * noise
        states.append(x)
    return np.stack(states)


def second_order(h, e, past, seen):
    return -e / 2 * (seen[0] - seen[1]) * h / past[0] if past else 0.0


def third_order(h, e, past, seen):
    if len(past) < 2:
        return second_order(h, e, past, seen)
    r0, r1 = past[0] / h, past[1] / h
    first, second = (seen[0] - seen[1]) / r0, (seen[1] - seen[2]) / r1
    slope, curve = first + r0 / (r0 + r1) * (first - second), (first - second) / (r0 + r1)
    return (e / h + 1) * slope - ((e + h) / h**2 - 0.5) * curve


@pytest.mark.float64
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_second_order_is_the_published_recursion(eta):
    """Lu et al., 2022b, Alg. 2, and its SDE form, on an uneven grid that ends clean."""
    grid = grids.karras(schedules.edm(), 6)
    expected = by_hand(grid, 80 * START, second_order, eta)
    np.testing.assert_allclose(trajectory(solver(2, eta=eta), grid, 80 * START), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.float64
def test_published_third_order_is_the_recursion_of_the_usual_code():
    grid = grids.karras(schedules.edm(), 6)
    expected = by_hand(grid, 80 * START, third_order)
    np.testing.assert_allclose(trajectory(solver(3, formula="published"), grid, 80 * START), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("kind", "mean"), [(parameterization.noise, 0.3301), (parameterization.velocity, 0.2251)], ids=["noise", "velocity"]
)
def test_second_order_reaches_the_published_means(kind, mean):
    assert peer_trajectory.end(solver(2), peer_trajectory.linspace(), kind).mean() == pytest.approx(mean, abs=5.1e-5)


@pytest.mark.float64
@pytest.mark.parametrize("eta", [0.0, 1.0], ids=["flow", "sde"])
def test_first_order_is_ddim(eta):
    for schedule in (schedules.cosine(), schedules.flow(), schedules.edm()):
        grid = grids.trailing(schedule, 5)
        np.testing.assert_allclose(trajectory(solver(1, eta=eta), grid), trajectory(ancestral.ddim(eta), grid), rtol=1e-10, atol=1e-12)


# Order: a mixture between two fixed levels, even in log-SNR.


def line(x, level):
    """A clean prediction linear in half the log-SNR, whatever x."""
    position = jnp.log(level.alpha / level.sigma)
    clean = jnp.full_like(x, 0.3) + 0.7 * position
    return Prediction(clean, (x - level.alpha * clean) / level.sigma)


@pytest.mark.float64
@pytest.mark.parametrize("sampler", [solver(3), solver(2, formula="exact", start="corrected")], ids=["3M", "2M exact"])
def test_a_prediction_linear_in_log_snr_is_integrated_exactly(sampler):
    grid = even_grid.levels(3)
    position = np.log(np.asarray(grid.alpha / grid.sigma))
    scale = np.exp(position)  # ∫ e^s (0.3 + 0.7 s) ds = e^s (0.7 s - 0.4)
    drift = np.diff([scale[k] * (0.7 * position[k] - 0.4) for k in (0, 3)])[0]
    exact = grid.sigma[3] / grid.sigma[0] * START + grid.sigma[3] * drift
    np.testing.assert_allclose(trajectory(sampler, grid, denoise=line)[-1], exact, rtol=1e-11, atol=1e-12)


# Few steps, ends, history.


@pytest.mark.float64
def test_history_starts_after_the_level_without_signal():
    """From alpha = 0 the log-SNR is no position: the second step is a first step again."""
    grid = grids.trailing(schedules.zero_terminal_snr(schedules.scaled_linear()), 6)
    whole, rest = trajectory(solver(3), grid), jax.tree.map(lambda field: field[1:], grid)
    np.testing.assert_allclose(whole[1:], trajectory(solver(3), rest, start=whole[1]), rtol=1e-11, atol=1e-13)


@pytest.mark.float64
def test_lower_order_final_takes_ddim_last_and_second_order_before():
    """With the line through two predictions integrated exactly, as the exact formula has it."""
    grid = grids.log_snr(schedules.edm(), 6, end="first")
    full, lower = (trajectory(solver(3, lower_order_final=low), grid, 80 * START) for low in (False, True))
    np.testing.assert_allclose(lower[:5], full[:5], rtol=1e-11)
    assert np.abs(lower[5] - full[5]).max() > 1e-4
    last = ancestral.ddim_step(MIXTURE(lower[5], grid[5]), grid[5], grid[6])
    np.testing.assert_allclose(lower[6], last, rtol=1e-11)
    h, h0 = (float(jnp.log(grid.alpha[j + 1] / grid.sigma[j + 1] * grid.sigma[j] / grid.alpha[j])) for j in (4, 3))
    now, before = (np.asarray(MIXTURE(lower[j], grid[j]).clean) for j in (4, 3))
    ddim = ancestral.ddim_step(MIXTURE(lower[4], grid[4]), grid[4], grid[5])
    np.testing.assert_allclose(lower[5], ddim + grid.alpha[5] * (h - 1 + np.exp(-h)) / h0 * (now - before), rtol=1e-11)


def test_traced_step_counts_and_padding_change_nothing():
    grid, sampler = grids.trailing(schedules.cosine(), 5), solver(3, eta=1.0, lower_order_final=True)
    found = trajectory(sampler, grids.padded(grid, 8), steps=jnp.asarray(5))
    np.testing.assert_allclose(found[:6], trajectory(sampler, grid), atol=5e-6)


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda: solver(0), "order"),
        (lambda: solver(4), "order"),
        (lambda: solver(2, eta=-0.1), "eta"),
        (lambda: solver(2, formula="published"), "formula"),
        (lambda: solver(3, formula="midpoint"), "formula"),
        (lambda: solver(3, formula="exakt"), "exact"),
        (lambda: solver(3, start="second"), "start"),
    ],
)
def test_impossible_settings_are_refused_by_name(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake()
