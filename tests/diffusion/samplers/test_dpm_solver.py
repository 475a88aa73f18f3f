"""DPM-Solver++, multistep and single step: published steps written out, what history and last steps do, and how noises
lie.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, sampling, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.samplers.dpm_solver_multistep import dpm_solver_multistep as multistep
from gendiff.diffusion.samplers.dpm_solver_single import dpm_solver_single
from gendiff.diffusion.types import Level, Prediction
from tests.diffusion.samplers.draws import MIXTURE, START, even_levels, noises, trajectory

# Multistep.


def by_hand(levels, start, formula, eta):
    """The published recursions in NumPy."""
    alpha, sigma, fresh = np.asarray(levels.alpha), np.asarray(levels.sigma), noises(len(levels) - 1)
    position = np.log(alpha / np.maximum(sigma, 1e-300))
    x, predictions, states = start, [], [start]
    for j in range(len(levels) - 1):
        predictions.insert(0, np.asarray(MIXTURE(x, levels[j]).clean))
        if sigma[j + 1] == 0:
            x = predictions[0]
        else:
            h, *past = (position[j + 1 - k] - position[j - k] for k in range(min(j + 1, 3)))
            e = np.expm1(-(1 + eta**2) * h)
            x = sigma[j + 1] / sigma[j] * np.exp(-(eta**2) * h) * x - alpha[j + 1] * e * predictions[0]
            x = (
                x
                + alpha[j + 1] * formula(h, e, past, predictions)
                + sigma[j + 1] * np.sqrt(-np.expm1(-2 * eta**2 * h)) * fresh[j]
            )
        states.append(x)
    return np.stack(states)


def second_order(h, e, past, predictions):
    return -e / 2 * (predictions[0] - predictions[1]) * h / past[0] if past else 0.0


def third_order(h, e, past, predictions):
    if len(past) < 2:
        return second_order(h, e, past, predictions)
    r0, r1 = past[0] / h, past[1] / h
    first, second = (predictions[0] - predictions[1]) / r0, (predictions[1] - predictions[2]) / r1
    slope, curve = first + r0 / (r0 + r1) * (first - second), (first - second) / (r0 + r1)
    return (e / h + 1) * slope - ((e + h) / h**2 - 0.5) * curve


@pytest.mark.float64
@pytest.mark.parametrize(
    ("sampler", "formula", "eta"),
    [
        (multistep(2), second_order, 0.0),
        (multistep(2, eta=0.6), second_order, 0.6),
        (multistep(3, formula="published"), third_order, 0.0),
    ],
    ids=["2M", "2M sde", "3M published"],
)
def test_steps_are_the_published_recursion(sampler, formula, eta):
    """Lu et al., 2022b, Alg. 2, its SDE form, and the third order of the usual code, on an uneven grid that ends
    clean.
    """
    levels = grids.karras(schedules.edm(), 6)
    expected = by_hand(levels, 80 * START, formula, eta)
    np.testing.assert_allclose(trajectory(sampler, levels, 80 * START), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize(
    "sampler", [multistep(3), multistep(2, formula="exact", start="corrected")], ids=["3M", "2M exact"]
)
def test_a_prediction_linear_in_log_snr_is_integrated_exactly(sampler):
    def line(x, level):
        clean = jnp.full_like(x, 0.3) + 0.7 * jnp.log(level.alpha / level.sigma)
        return Prediction(clean, (x - level.alpha * clean) / level.sigma)

    levels = even_levels(3)
    position = np.log(np.asarray(levels.alpha / levels.sigma))[[0, 3]]
    drift = np.diff(np.exp(position) * (0.7 * position - 0.4))  # ∫ e^s (0.3 + 0.7 s) ds
    exact = levels.sigma[3] / levels.sigma[0] * START + levels.sigma[3] * drift[0]
    result = trajectory(sampler, levels, denoise=jax.tree_util.Partial(line))[-1]
    np.testing.assert_allclose(result, exact, rtol=1e-11, atol=1e-12)


@pytest.mark.float64
def test_history_starts_after_the_level_without_signal():
    """From alpha = 0 the log-SNR is no position: the second step is a first step again."""
    levels = grids.trailing(schedules.zero_terminal_snr(schedules.scaled_linear()), 6)
    full, rest = trajectory(multistep(3), levels), jax.tree.map(lambda field: field[1:], levels)
    np.testing.assert_allclose(full[1:], trajectory(multistep(3), rest, full[1]), rtol=1e-11, atol=1e-13)


@pytest.mark.float64
def test_lower_order_final_takes_ddim_last_and_second_order_before():
    """With the line through two predictions integrated exactly, as the exact formula has it."""
    levels = grids.log_snr(schedules.edm(), 6, end="first")
    full, lower = (trajectory(multistep(3, lower_order_final=low), levels, 80 * START) for low in (False, True))
    np.testing.assert_allclose(lower[:5], full[:5], rtol=1e-11)
    assert np.abs(lower[5] - full[5]).max() > 1e-4
    np.testing.assert_allclose(
        lower[6], ancestral.ddim_step(MIXTURE(lower[5], levels[5]), levels[5], levels[6]), rtol=1e-11
    )
    position = np.log(np.asarray(levels.alpha / levels.sigma))
    h, h0 = position[5] - position[4], position[4] - position[3]
    before, now = (MIXTURE(lower[j], levels[j]) for j in (3, 4))
    second = levels.alpha[5] * (h - 1 + np.exp(-h)) / h0 * (now.clean - before.clean)
    np.testing.assert_allclose(lower[5], ancestral.ddim_step(now, levels[4], levels[5]) + second, rtol=1e-11)


def test_traced_step_counts_and_padding_change_nothing():
    levels, sampler = grids.trailing(schedules.cosine(), 5), multistep(3, eta=1.0, lower_order_final=True)
    result = trajectory(sampler, grids.padded(levels, 8), steps=jnp.asarray(5))
    np.testing.assert_allclose(result[:6], trajectory(sampler, levels), atol=5e-6)


# Single step.

single = functools.partial(dpm_solver_single, schedules.flow())


def on_flow(position):
    """The level of the flow schedule at this half log-SNR."""
    sigma = 1 / (1 + np.exp(position))
    return Level(1000 * sigma, 1 - sigma, sigma)


def clean(x, level):
    return np.asarray(MIXTURE(x, level).clean)


def second_stages(x, here, h):
    """u = (sigma_s/sigma) x - alpha_s (e^(-h/2) - 1) c; x' = (sigma'/sigma) x - alpha' (e^-h - 1) c_s (Lu et al.,
    2022b, Alg. 1).
    """
    level, middle, end = (on_flow(here + share * h) for share in (0, 0.5, 1))
    u = middle.sigma / level.sigma * x - middle.alpha * np.expm1(-h / 2) * clean(x, level)
    return end.sigma / level.sigma * x - end.alpha * np.expm1(-h) * clean(u, middle)


def third_stages(x, here, h):
    """Lu et al., 2022a, Alg. 2, with the data prediction: r1 = 1/3, r2 = 2/3."""
    level, early, late, end = (on_flow(here + share * h) for share in (0, 1 / 3, 2 / 3, 1))
    c = clean(x, level)
    u = early.sigma / level.sigma * x - early.alpha * np.expm1(-h / 3) * c
    d1 = clean(u, early) - c
    u = late.sigma / level.sigma * x - late.alpha * np.expm1(-2 * h / 3) * c
    d2 = clean(u + late.alpha * 2 * (np.expm1(-2 * h / 3) / (2 * h / 3) + 1) * d1, late) - c
    return end.sigma / level.sigma * x - end.alpha * np.expm1(-h) * c + 1.5 * end.alpha * (np.expm1(-h) / h + 1) * d2


@pytest.mark.float64
@pytest.mark.parametrize(("order", "stages"), [(2, second_stages), (3, third_stages)])
def test_single_steps_are_the_published_stages(order, stages):
    positions, x = [-2.0, -1.2, 0.7, 1.1], START
    levels = jax.tree.map(lambda *fields: jnp.array(fields), *map(on_flow, positions))
    for here, there in zip(positions, positions[1:], strict=False):
        x = stages(x, here, there - here)
    np.testing.assert_allclose(trajectory(single(order), levels)[-1], x, rtol=1e-11, atol=1e-13)


@pytest.mark.float64
def test_noises_of_a_single_step_lie_on_one_path():
    """With a constant prediction, the noise at the middle, carried on, and that of the second half make the noise at
    the end.
    """
    eta, predictions, start = 0.7, [], jnp.asarray(START)
    begin, middle, end = (on_flow(position) for position in (-1.0, -0.2, 0.6))

    def denoise(x, level):
        predictions.append(np.asarray(x))
        return oracles.gaussian(0.0)(x, level)

    noise = sampling.KeyNoise(jax.random.split(jax.random.key(3), 2))
    with jax.disable_jit():
        result = single(2, eta=eta).step(noise, denoise, sampling.State(start), begin, end, 0).x
    remaining = np.exp(-(eta**2) * 0.8)
    expected = end.sigma * (
        remaining * predictions[1] / middle.sigma + np.sqrt(1 - remaining**2) * np.asarray(noise(start, 2))
    )
    np.testing.assert_allclose(result, expected, rtol=1e-9)
